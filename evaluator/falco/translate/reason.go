package translate

import "strings"

// reasons say why gyre does not have fields, by the beginning of their names; the first that fits counts.
var reasons = []struct{ prefix, why string }{
	{"evt.latency", noEnter},
	{"evt.wait_latency", noEnter},
	{"evt.is_wait", noEnter},
	{"evt.deltatime", noOrder},
	{"evt.reltime", noOrder},
	{"evt.around", noOrder},
	{"evt.outputtime", "it is an option of Sysdig's command line"},
	{"evt.count.", views},
	{"evt.buflen.", views},
	{"evt.infra.", views},
	{"util.", views},
	{"thread.nametid", views},
	{"thread.exectime", views},
	{"thread.totexectime", views},
	{"thread.vmsize.b", views},
	{"thread.vmrss.b", views},
	{"evt.latency.quantized", views},
	{"evt.buffer", noData},
	{"evt.buflen", noData},
	{"evt.arg.data", noData},
	{"evt.rawarg.data", noData},
	{"evt.is_syslog", noData},
	{"fdlist.", "sets of descriptors, as of poll, are not captured"},
	{"fd.types", noFDs},
	{"fd.uid", noFDs},
	{"proc.stdin.", noFDs},
	{"proc.stdout.", noFDs},
	{"proc.stderr.", noFDs},
	{"proc.fd", noFDs},
	{"thread.cpu", noLoad},
	{"thread.vm", noLoad},
	{"thread.pf", noLoad},
	{"proc.vm", noLoad},
	{"proc.nthreads", noLoad},
	{"proc.nchilds", noLoad},
	{"container.healthcheck", noProbes},
	{"container.liveness_probe", noProbes},
	{"container.readiness_probe", noProbes},
	{"proc.is_container_", noProbes},
	{"container.", "it is not among the facts that are read from container runtimes"},
	{"k8s.", "it is not among the facts that are read from Kubernetes"},
	{"k8smeta.", "it is not among the facts that are read from Kubernetes"},
	{"evt.arg", "no event that the collector reports has this argument"},
	{"evt.rawarg", "the collector does not report the argument, or only its text"},
}

const (
	noEnter  = "only the ends of calls are reported"
	noOrder  = "events are evaluated each for itself, by any evaluator"
	views    = "it is for Sysdig's tables only"
	noData   = "the data that calls read and write is not captured"
	noFDs    = "the tables of open descriptors are not kept"
	noLoad   = "the use of memory and CPU is not captured"
	noProbes = "probes of containers are not told apart"
)

// Reason says why gyre does not have a field.
func Reason(name string) string {
	for _, r := range reasons {
		if strings.HasPrefix(name, r.prefix) {
			return r.why
		}
	}
	return "the collector does not report it"
}
