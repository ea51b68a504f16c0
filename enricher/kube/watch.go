package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gyre-sec/gyre/daemon"
)

// resource is a kind of objects to watch.
type resource struct {
	kind     string
	gv       schema.GroupVersion
	name     string
	example  runtime.Object // nil: of its objects only the metadata is read
	perSpace bool           // objects are in namespaces
	changes  bool           // it is watched for changes only
}

func resources(c Config) []resource {
	core, apps, batch, rbac := corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion, batchv1.SchemeGroupVersion, rbacv1.SchemeGroupVersion
	list := []resource{
		{"Namespace", core, "namespaces", &corev1.Namespace{}, false, false},
		{"Service", core, "services", &corev1.Service{}, true, false},
		{"ReplicaSet", apps, "replicasets", nil, true, false},
		{"ReplicationController", core, "replicationcontrollers", nil, true, false},
		{"Deployment", apps, "deployments", &appsv1.Deployment{}, true, false},
		{"StatefulSet", apps, "statefulsets", &appsv1.StatefulSet{}, true, false},
		{"DaemonSet", apps, "daemonsets", &appsv1.DaemonSet{}, true, false},
		{"Job", batch, "jobs", &batchv1.Job{}, true, false},
		{"CronJob", batch, "cronjobs", &batchv1.CronJob{}, true, false},
		{"Pod", core, "pods", &corev1.Pod{}, true, false},
		{"RoleBinding", rbac, "rolebindings", &rbacv1.RoleBinding{}, true, true},
		{"ClusterRoleBinding", rbac, "clusterrolebindings", &rbacv1.ClusterRoleBinding{}, false, true},
		{"Role", rbac, "roles", &rbacv1.Role{}, true, true},
		{"ClusterRole", rbac, "clusterroles", &rbacv1.ClusterRole{}, false, true},
		{"ConfigMap", core, "configmaps", nil, true, true},
	}
	if c.Secrets {
		list = append(list, resource{"Secret", core, "secrets", nil, true, true})
	}
	return list
}

// cluster makes clients.
type cluster struct {
	config *rest.Config
	codecs serializer.CodecFactory
	meta   metadata.Interface
}

// dial reads where the cluster is. It does not connect.
func dial(c Config) (*cluster, error) {
	cfg, err := rest.InClusterConfig()
	if c.Kubeconfig != "" {
		rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Kubeconfig}
		cfg, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context}).ClientConfig()
	}
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, daemon.Hint(errors.New("this program does not run in a cluster"), "set enricher.kube.kubeconfig")
	}
	if err != nil {
		return nil, fmt.Errorf("read where the cluster is: %w", err)
	}
	cfg.UserAgent, cfg.QPS, cfg.Burst = "gyre-enricher", 50, 100
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, rbacv1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("make scheme: %w", err)
		}
	}
	x := &cluster{config: cfg, codecs: serializer.NewCodecFactory(s)}
	if x.meta, err = metadata.NewForConfig(metadata.ConfigFor(cfg)); err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return x, nil
}

// watcher lists and watches a resource, in one namespace or in all.
func (x *cluster) watcher(r resource, namespace string) (cache.ListerWatcher, runtime.Object, cache.TransformFunc, error) {
	if r.example == nil {
		c := x.meta.Resource(r.gv.WithResource(r.name)).Namespace(namespace)
		return &cache.ListWatch{
			ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return c.List(ctx, o) },
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return c.Watch(ctx, o) },
		}, &metav1.PartialObjectMetadata{}, stripMeta(r.kind), nil
	}
	cfg := rest.CopyConfig(x.config)
	cfg.GroupVersion, cfg.APIPath, cfg.NegotiatedSerializer = &r.gv, "/apis", x.codecs.WithoutConversion()
	if r.gv.Group == "" {
		cfg.APIPath = "/api"
	}
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make client of %s: %w", r.name, err)
	}
	return cache.NewFilteredListWatchFromClient(c, r.name, namespace, func(*metav1.ListOptions) {}), r.example, strip, nil
}

// run watches a resource until ctx ends. What goes wrong is tried again for ever, with growing pauses.
func (s *Stage) run(ctx context.Context, r resource, namespace string) error {
	lw, example, transform, err := s.cluster.watcher(r, namespace)
	if err != nil {
		return err
	}
	inf := cache.NewSharedIndexInformerWithOptions(lw, example, cache.SharedIndexInformerOptions{})
	if err := inf.SetTransform(transform); err != nil {
		return fmt.Errorf("watch %s: %w", r.name, err)
	}
	if err := inf.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) { s.watchError(ctx, r, err) }); err != nil {
		return fmt.Errorf("watch %s: %w", r.name, err)
	}
	seen := func(old, now any) {
		a, _ := old.(*record)
		b, _ := now.(*record)
		s.apply(ctx, r, a, b)
	}
	reg, err := inf.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { seen(nil, obj) },
		UpdateFunc: seen,
		DeleteFunc: func(obj any) {
			if x, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = x.Obj
			}
			seen(obj, nil)
		},
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", r.name, err)
	}
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), reg.HasSynced) {
			s.m.synced.WithLabelValues(r.name).Set(1)
			s.syncs.Done()
		}
	}()
	inf.RunWithContext(ctx)
	return nil
}

// watchError counts what goes wrong and logs it when it begins. That a watch ends is its nature.
func (s *Stage) watchError(ctx context.Context, r resource, err error) {
	if ctx.Err() != nil || errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	s.m.errors.WithLabelValues(r.name).Inc()
	s.mu.Lock()
	last := s.logged[r.name]
	quiet := time.Since(last) < time.Minute
	if !quiet {
		s.logged[r.name] = time.Now()
	}
	s.mu.Unlock()
	if quiet {
		return
	}
	hint := "it is tried again"
	if apierrors.IsForbidden(err) {
		hint = "let the service account list and watch it: see docs/context-cluster.md"
	}
	s.log.Warn("kubernetes is not watched as it should be", "kind", r.name, "err", daemon.Hint(err, hint))
}
