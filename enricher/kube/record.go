package kube

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// record is what is kept of an object: its metadata without annotations and managed fields, and a little of the rest.
type record struct {
	metav1.ObjectMeta
	kind  string
	actor string

	pod     *podFacts
	service *serviceFacts
	work    *workFacts
	bind    *bindFacts
}

type podFacts struct {
	node, ip, account string
	hostNetwork       bool
	containers        map[string]containerFacts // by the runtime's id
}

type containerFacts struct{ name, image string }

type serviceFacts struct {
	ips      []netip.Addr
	selector map[string]string
}

// workFacts are of what makes pods.
type workFacts struct {
	images   map[string]string // by the container's name
	replicas int32             // -1 for none
	template uint64            // hash of the pod template
	account  string
	configs  []string // ConfigMap/name and Secret/name that the template names, sorted
}

// bindFacts are of a role binding.
type bindFacts struct {
	role     string   // Role/namespace/name or ClusterRole/name
	accounts []string // keys of [touch] of the service accounts and groups of them
}

// key names the object.
func (r *record) key() string { return objectKey(r.kind, r.Namespace, r.Name) }

func objectKey(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return kind + "/" + namespace + "/" + name
}

// owner is the controller of the object, nil for none.
func (r *record) owner() *metav1.OwnerReference {
	for i := range r.OwnerReferences {
		if o := &r.OwnerReferences[i]; o.Controller != nil && *o.Controller {
			return o
		}
	}
	return nil
}

// strip turns an object into the record of it; what is unknown is left as it is.
func strip(obj any) (any, error) {
	switch x := obj.(type) {
	case *corev1.Pod:
		r := newRecord("Pod", &x.ObjectMeta)
		r.pod = &podFacts{node: x.Spec.NodeName, ip: x.Status.PodIP, account: x.Spec.ServiceAccountName, hostNetwork: x.Spec.HostNetwork, containers: map[string]containerFacts{}}
		for _, list := range [][]corev1.ContainerStatus{x.Status.InitContainerStatuses, x.Status.ContainerStatuses, x.Status.EphemeralContainerStatuses} {
			for _, c := range list {
				if _, id, ok := strings.Cut(c.ContainerID, "://"); ok {
					r.pod.containers[id] = containerFacts{c.Name, c.Image}
				}
			}
		}
		return r, nil
	case *corev1.Service:
		r := newRecord("Service", &x.ObjectMeta)
		r.service = &serviceFacts{selector: x.Spec.Selector}
		all := slices.Concat([]string{x.Spec.ClusterIP}, x.Spec.ClusterIPs, x.Spec.ExternalIPs)
		for _, in := range x.Status.LoadBalancer.Ingress {
			all = append(all, in.IP)
		}
		for _, s := range all {
			if a, err := netip.ParseAddr(s); err == nil && !slices.Contains(r.service.ips, a.Unmap()) {
				r.service.ips = append(r.service.ips, a.Unmap())
			}
		}
		return r, nil
	case *corev1.Namespace:
		return newRecord("Namespace", &x.ObjectMeta), nil
	case *appsv1.Deployment:
		return workload("Deployment", &x.ObjectMeta, &x.Spec.Template, x.Spec.Replicas)
	case *appsv1.StatefulSet:
		return workload("StatefulSet", &x.ObjectMeta, &x.Spec.Template, x.Spec.Replicas)
	case *appsv1.DaemonSet:
		return workload("DaemonSet", &x.ObjectMeta, &x.Spec.Template, nil)
	case *batchv1.CronJob:
		return workload("CronJob", &x.ObjectMeta, &x.Spec.JobTemplate.Spec.Template, nil)
	case *batchv1.Job:
		return workload("Job", &x.ObjectMeta, &x.Spec.Template, nil)
	case *rbacv1.Role:
		return newRecord("Role", &x.ObjectMeta), nil
	case *rbacv1.ClusterRole:
		return newRecord("ClusterRole", &x.ObjectMeta), nil
	case *rbacv1.RoleBinding:
		return binding("RoleBinding", &x.ObjectMeta, x.RoleRef, x.Subjects), nil
	case *rbacv1.ClusterRoleBinding:
		return binding("ClusterRoleBinding", &x.ObjectMeta, x.RoleRef, x.Subjects), nil
	}
	return obj, nil
}

// stripMeta turns the metadata of an object of this kind into a record.
func stripMeta(kind string) func(any) (any, error) {
	return func(obj any) (any, error) {
		if x, ok := obj.(*metav1.PartialObjectMetadata); ok {
			return newRecord(kind, &x.ObjectMeta), nil
		}
		return obj, nil
	}
}

func newRecord(kind string, m *metav1.ObjectMeta) *record {
	r := &record{kind: kind, ObjectMeta: metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp, OwnerReferences: m.OwnerReferences, Labels: m.Labels,
	}}
	var last *metav1.ManagedFieldsEntry
	for i := range m.ManagedFields {
		if f := &m.ManagedFields[i]; f.Subresource == "" && f.Time != nil && (last == nil || last.Time.Before(f.Time)) {
			last = f
		}
	}
	if last != nil {
		r.actor = last.Manager
	}
	return r
}

func workload(kind string, m *metav1.ObjectMeta, t *corev1.PodTemplateSpec, replicas *int32) (*record, error) {
	r := newRecord(kind, m)
	w := &workFacts{images: map[string]string{}, replicas: -1, account: t.Spec.ServiceAccountName}
	if w.account == "" {
		w.account = "default"
	}
	if replicas != nil {
		w.replicas = *replicas
	}
	configs := map[string]bool{}
	for _, c := range slices.Concat(t.Spec.InitContainers, t.Spec.Containers) {
		w.images[c.Name] = c.Image
		for _, e := range c.EnvFrom {
			if e.ConfigMapRef != nil {
				configs["ConfigMap/"+e.ConfigMapRef.Name] = true
			}
			if e.SecretRef != nil {
				configs["Secret/"+e.SecretRef.Name] = true
			}
		}
		for _, e := range c.Env {
			if v := e.ValueFrom; v != nil && v.ConfigMapKeyRef != nil {
				configs["ConfigMap/"+v.ConfigMapKeyRef.Name] = true
			} else if v != nil && v.SecretKeyRef != nil {
				configs["Secret/"+v.SecretKeyRef.Name] = true
			}
		}
	}
	for _, v := range t.Spec.Volumes {
		if v.ConfigMap != nil {
			configs["ConfigMap/"+v.ConfigMap.Name] = true
		}
		if v.Secret != nil {
			configs["Secret/"+v.Secret.SecretName] = true
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					configs["ConfigMap/"+s.ConfigMap.Name] = true
				}
				if s.Secret != nil {
					configs["Secret/"+s.Secret.Name] = true
				}
			}
		}
	}
	w.configs = slices.Sorted(maps.Keys(configs))
	data, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("read template of %s: %w", r.key(), err)
	}
	h := fnv.New64a()
	_, _ = h.Write(data)
	w.template = h.Sum64()
	r.work = w
	return r, nil
}

func binding(kind string, m *metav1.ObjectMeta, role rbacv1.RoleRef, subjects []rbacv1.Subject) *record {
	r := newRecord(kind, m)
	ns := ""
	if role.Kind == "Role" {
		ns = m.Namespace
	}
	b := &bindFacts{role: objectKey(role.Kind, ns, role.Name)}
	for _, s := range subjects {
		if k := subjectKey(s); k != "" {
			b.accounts = append(b.accounts, k)
		}
	}
	slices.Sort(b.accounts)
	r.bind = b
	return r
}

// Keys of what changes touch, besides workloads.
const (
	allAccounts = "ServiceAccount/*"
)

func accountKey(namespace, name string) string { return "ServiceAccount/" + namespace + "/" + name }

// subjectKey is what a subject means for pods: a service account, or all of a namespace, or all; "" for people.
func subjectKey(s rbacv1.Subject) string {
	switch {
	case s.Kind == rbacv1.ServiceAccountKind:
		return accountKey(s.Namespace, s.Name)
	case s.Kind == rbacv1.GroupKind && s.Name == "system:serviceaccounts":
		return allAccounts
	case s.Kind == rbacv1.GroupKind && strings.HasPrefix(s.Name, "system:serviceaccounts:"):
		return accountKey(strings.TrimPrefix(s.Name, "system:serviceaccounts:"), "*")
	}
	return ""
}
