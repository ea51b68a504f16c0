package clickhouse_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/changev1"
)

// fleet is a week of a small fleet: a web server that is broken into through a pod, package work, and a node that fell silent.
func fleet(now time.Time) []alertv1.Alert {
	var out []alertv1.Alert
	add := func(ago time.Duration, rule string, prio alertv1.Priority, node, exe string, more func(*alertv1.Alert)) {
		name := exe[strings.LastIndexByte(exe, '/')+1:]
		seq := uint64(len(out) + 1)
		a := alertv1.Alert{
			ID: alertv1.EventID(rule, node, "b", seq), Time: now.Add(-ago).UnixNano(), RuleID: rule, Rule: strings.ReplaceAll(rule, "-", " "), Priority: prio, Source: "syscall",
			Node: node, BootID: "b-" + node, Seq: seq, Event: "openat", Output: name + " did something", Ruleset: "d", User: alertv1.User{Name: "root", LoginUID: 1<<32 - 1},
			Lineage: []alertv1.Process{{ExecID: node + exe, PID: uint32(seq), Name: name, Exe: exe, Cmdline: name}},
		}
		if more != nil {
			more(&a)
		}
		out = append(out, a)
	}
	pod := func(a *alertv1.Alert) {
		a.Container = alertv1.Container{ID: "c0ffee", Name: "shop", Image: "shop:2"}
		a.K8s = alertv1.K8s{Namespace: "shop", Pod: "shop-1"}
		a.MITRE = []string{"T1505.003"}
		a.Lineage = append(a.Lineage, alertv1.Process{ExecID: "w", PID: 20, Name: "php-fpm", Cmdline: "php-fpm: pool www"}, alertv1.Process{ExecID: "n", PID: 10, Name: "nginx", Cmdline: "nginx: master"})
	}
	for i := range 12 {
		add(time.Duration(i+2)*time.Hour, "read-sensitive-file", alertv1.Warning, "web", "/usr/bin/backup", func(a *alertv1.Alert) {
			a.MITRE, a.Fields = []string{"T1003.008"}, []alertv1.Field{{Name: "fd.name", Value: "/etc/shadow"}}
			a.User = alertv1.User{Name: "root", LoginUID: 1000, LoginName: "ann"}
		})
	}
	add(30*time.Minute, "web-script-written", alertv1.Error, "web", "/usr/sbin/php-fpm", pod)
	add(27*time.Minute, "shell-from-service", alertv1.Critical, "web", "/bin/sh", pod)
	add(26*time.Minute, "read-sensitive-file", alertv1.Error, "web", "/bin/sh", func(a *alertv1.Alert) {
		pod(a)
		a.Lineage[0].Cmdline, a.Fields = "sh -c cat /etc/shadow", []alertv1.Field{{Name: "fd.name", Value: "/etc/shadow"}}
	})
	for range 3 {
		add(5*time.Hour, "package-manager", alertv1.Notice, "db", "/usr/bin/apt-get", nil)
	}
	for d := range 6 {
		add(time.Duration(d+2)*24*time.Hour+time.Hour, "package-manager", alertv1.Notice, "db", "/usr/bin/apt-get", nil)
		add(time.Duration(d+2)*24*time.Hour, "package-manager", alertv1.Notice, "old", "/usr/bin/apt-get", nil)
	}
	add(20*time.Minute, "reverse-shell-stages", alertv1.Critical, "db", "/bin/nc", func(a *alertv1.Alert) {
		a.Lineage = append(a.Lineage, alertv1.Process{ExecID: "b", PID: 8, Name: "bash", Cmdline: "-bash"}, alertv1.Process{ExecID: "s", PID: 7, Name: "sshd", Cmdline: "sshd: ann"})
		a.Events = []alertv1.Event{
			{Step: "connect", Time: a.Time - 2e9, Node: "web", BootID: "b-web", Seq: 900, Kind: "connect", Process: "nc"},
			{Step: "shell", Time: a.Time, Node: "db", BootID: "b-db", Seq: 901, Kind: "execve", Process: "sh"},
		}
	})
	return out
}

// answers of the questions in docs/sql.md over the fleet, as CSV without the head.
func answers() map[string]string {
	return map[string]string{
		"Noisy rules":                                 "read-sensitive-file,13,1,68.4\npackage-manager,3,1,15.8\nreverse-shell-stages,1,1,5.3\nshell-from-service,1,1,5.3\nweb-script-written,1,1,5.3",
		"The exception that would silence most":       "read-sensitive-file,/usr/bin/backup,/etc/shadow,12\nread-sensitive-file,/bin/sh,/etc/shadow,1",
		"Top talkers":                                 "web,/usr/bin/backup,12,warning\ndb,/usr/bin/apt-get,3,notice\nweb,/bin/sh,2,critical\ndb,/bin/nc,1,critical\nweb,/usr/sbin/php-fpm,1,error",
		"First seen":                                  "read-sensitive-file,/bin/sh,1,1\nread-sensitive-file,/usr/bin/backup,1,1\nreverse-shell-stages,/bin/nc,1,1\nshell-from-service,/bin/sh,1,1\nweb-script-written,/usr/sbin/php-fpm,1,1",
		"Rare across nodes":                           "/bin/nc,db,1\n/bin/sh,web,2\n/usr/bin/backup,web,12\n/usr/sbin/php-fpm,web,1",
		"Process tree of an alert":                    "1,7,sshd,sshd: ann\n2,8,bash,-bash\n3,31,nc,nc",
		"All that a container did in ten minutes":     "-180,web-script-written,php-fpm,php-fpm did something\n0,shell-from-service,sh,sh did something\n60,read-sensitive-file,sh,sh did something",
		"One process, several rules":                  `web,sh,"[""read-sensitive-file"",""shell-from-service""]",2`,
		"Ancestors in common":                         "nginx,3\nsshd,1",
		"MITRE ATT&CK coverage":                       "T1003.008,12,1,1\nT1505.003,3,3,1",
		"Who was it":                                  "ann,web,12",
		"By image":                                    "shop:2,3,3,1",
		"By namespace and priority":                   "shop,1,2,0,0\n,1,0,12,13",
		"This day and the week before":                "read-sensitive-file,13,0\nreverse-shell-stages,1,0\nshell-from-service,1,0\nweb-script-written,1,0",
		"Bursts":                                      "package-manager,3,db\nread-sensitive-file,1,web\nreverse-shell-stages,1,db\nshell-from-service,1,web\nweb-script-written,1,web",
		"Silent nodes":                                "old,6,1,notice",
		"Rules that never fire on more than one node": "read-sensitive-file,13,1,2\nreverse-shell-stages,1,1,1\nshell-from-service,1,1,1\nweb-script-written,1,1,1",
		"What had changed before":                     "web-script-written,shop,Deployment,shop,image shop:1 -> shop:2,10\nshell-from-service,shop,Deployment,shop,image shop:1 -> shop:2,13\nread-sensitive-file,shop,Deployment,shop,image shop:1 -> shop:2,14",
		"Step by step":                                "web,2",
		"Timeline of a correlated alert":              "0,connect,web,connect,nc\n1,shell,db,execve,sh",
		"Words":                                       "read-sensitive-file,web,sh -c cat /etc/shadow",
		"How late alerts are":                         "db,1\nweb,3",
	}
}

func TestQuestions(t *testing.T) {
	text, err := os.ReadFile("../../docs/sql.md")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Minute)
	s := open(t, server(t))
	if err := s.InsertAlerts(t.Context(), fleet(now)); err != nil {
		t.Fatal(err)
	}
	change := changev1.Change{V: 1, ID: uuid.NewString(), Time: now.Add(-40 * time.Minute), Cluster: "c", Kind: "image", ObjectKind: "Deployment", Namespace: "shop", Name: "shop", What: "image shop:1 -> shop:2"}
	if err := s.InsertChanges(t.Context(), []changev1.Change{change}); err != nil {
		t.Fatal(err)
	}
	want, asked := answers(), 0
	for _, q := range regexp.MustCompile("(?s)\n## ([^\n]+)\n.*?```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		asked++
		got := one(t, s, q[2])
		if q[1] == "How late alerts are" { // the times are this run's
			got = regexp.MustCompile(`(?m)^([^,]*,[^,]*),.*$`).ReplaceAllString(got, "$1")
		}
		if diff := cmp.Diff(want[q[1]], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", q[1], diff)
		}
	}
	if asked != len(want) || asked < 20 {
		t.Errorf("%d questions in the page, %d answers here", asked, len(want))
	}
}

// TestRollupsUnderRedelivery: whatever groups alerts come in, and however often, the numbers by minute and hour are those of the alerts.
func TestRollupsUnderRedelivery(t *testing.T) {
	s := open(t, server(t))
	all := fleet(time.Now())
	for _, size := range []int{len(all), 5, 3, 1} {
		for i := 0; i < len(all); i += size {
			if err := s.InsertAlerts(t.Context(), all[i:min(i+size, len(all))]); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := fmt.Sprint(len(all))
	for _, view := range []string{"alerts_per_minute", "alerts_per_hour", "nodes", "rules"} {
		if got := one(t, s, "SELECT sum(alerts) FROM "+view); got != want {
			t.Errorf("%s: %s alerts, want %s", view, got, want)
		}
	}
}
