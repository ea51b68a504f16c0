package container

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// criPollEvery is how often a runtime that has no stream of events is asked for its containers.
const criPollEvery = time.Second

// watch follows the events of all runtimes that are there.
func (r *cri) watch(ctx context.Context, news func(string)) error {
	conns, err := r.connect(ctx)
	if len(conns) == 0 {
		return errors.Join(err, errors.New("no socket"))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(conns))
	for _, c := range conns {
		go func() { ended <- c.events(ctx, news) }()
	}
	err = <-ended
	cancel()
	for range len(conns) - 1 {
		<-ended
	}
	return err
}

func (c *criConn) events(ctx context.Context, news func(string)) error {
	stream, err := c.api.GetContainerEvents(ctx, &runtimev1.GetEventsRequest{})
	for err == nil {
		var e *runtimev1.ContainerEventResponse
		if e, err = stream.Recv(); err == nil && e.GetContainerEventType() != runtimev1.ContainerEventType_CONTAINER_DELETED_EVENT {
			news(e.GetContainerId())
		}
	}
	if status.Code(err) != codes.Unimplemented {
		return err
	}
	seen := map[string]bool{}
	tick := time.NewTicker(criPollEvery)
	defer tick.Stop()
	for {
		all, err := c.api.ListContainers(ctx, &runtimev1.ListContainersRequest{})
		if err != nil {
			return err
		}
		now := make(map[string]bool, len(all.GetContainers()))
		for _, x := range all.GetContainers() {
			if now[x.GetId()] = true; !seen[x.GetId()] {
				news(x.GetId())
			}
		}
		seen = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
