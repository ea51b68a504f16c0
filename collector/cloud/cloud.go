// Package cloud asks the metadata service of a cloud where this machine runs. It knows those of AWS, Google Cloud and
// Azure, which all answer on one link-local address. Nothing secret is asked for.
package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// Address is that of the metadata services.
const Address = "http://169.254.169.254"

// Limits on a question.
const (
	timeout   = 2 * time.Second
	maxAnswer = 256 << 10
)

// ErrNone is returned when no service answers in a form that is known.
var ErrNone = errors.New("no metadata service of a cloud answers")

// Ask returns where the machine runs, or [ErrNone]; address is [Address] but in tests. It takes a few seconds at most.
func Ask(ctx context.Context, address string) (factv1.Cloud, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*timeout)
	defer cancel()
	// No proxy: the service is on the machine's own link. No redirect: it does not send away.
	c := &client{base: address, http: &http.Client{
		Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	errs := []error{ErrNone}
	for _, ask := range []func(context.Context) (factv1.Cloud, error){c.aws, c.gcp, c.azure} {
		found, err := ask(ctx)
		if err == nil {
			return found, nil
		}
		errs = append(errs, err)
	}
	return factv1.Cloud{}, errors.Join(errs...)
}

type client struct {
	base string
	http *http.Client
}

func (c *client) do(ctx context.Context, method, path, header, value string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(header, value)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

func (c *client) read(ctx context.Context, path, header, value string, v any) error {
	data, err := c.do(ctx, http.MethodGet, path, header, value)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

var errEmpty = errors.New("the answer names no instance")

// aws speaks version 2 of the instance metadata service, which wants a token first.
func (c *client) aws(ctx context.Context) (factv1.Cloud, error) {
	token, err := c.do(ctx, http.MethodPut, "/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
	if err != nil {
		return factv1.Cloud{}, fmt.Errorf("ask AWS: %w", err)
	}
	var d struct{ Region, AvailabilityZone, InstanceID, InstanceType, AccountID string }
	err = c.read(ctx, "/latest/dynamic/instance-identity/document", "X-Aws-Ec2-Metadata-Token", strings.TrimSpace(string(token)), &d)
	if err == nil && d.InstanceID == "" {
		err = errEmpty
	}
	if err != nil {
		return factv1.Cloud{}, fmt.Errorf("ask AWS: %w", err)
	}
	return factv1.Cloud{Provider: "aws", Region: d.Region, Zone: d.AvailabilityZone, InstanceID: d.InstanceID, InstanceType: d.InstanceType, Account: d.AccountID}, nil
}

func (c *client) gcp(ctx context.Context) (factv1.Cloud, error) {
	var d struct {
		ID                json.Number
		Zone, MachineType string
	}
	err := c.read(ctx, "/computeMetadata/v1/instance/?recursive=true", "Metadata-Flavor", "Google", &d)
	if err == nil && d.ID == "" {
		err = errEmpty
	}
	if err != nil {
		return factv1.Cloud{}, fmt.Errorf("ask Google Cloud: %w", err)
	}
	zone := path.Base(d.Zone) // projects/N/zones/europe-west1-b
	region := zone
	if i := strings.LastIndexByte(zone, '-'); i > 0 {
		region = zone[:i]
	}
	project, _, _ := strings.Cut(strings.TrimPrefix(d.Zone, "projects/"), "/")
	return factv1.Cloud{Provider: "gcp", Region: region, Zone: zone, InstanceID: d.ID.String(), InstanceType: path.Base(d.MachineType), Account: project}, nil
}

func (c *client) azure(ctx context.Context) (factv1.Cloud, error) {
	var d struct {
		Compute struct{ Location, Zone, VMID, VMSize, SubscriptionID string }
	}
	err := c.read(ctx, "/metadata/instance?api-version=2021-02-01", "Metadata", "true", &d)
	if err == nil && d.Compute.VMID == "" {
		err = errEmpty
	}
	if err != nil {
		return factv1.Cloud{}, fmt.Errorf("ask Azure: %w", err)
	}
	v := d.Compute
	return factv1.Cloud{Provider: "azure", Region: v.Location, Zone: v.Zone, InstanceID: v.VMID, InstanceType: v.VMSize, Account: v.SubscriptionID}, nil
}
