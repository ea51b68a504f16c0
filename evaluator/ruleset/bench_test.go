package ruleset_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/field"
)

// sample is the decoded sample mix: events, and the batch that they belong to.
func sample(t testing.TB) (*eventv1.Batch, []eventv1.Event) {
	t.Helper()
	builder := eventv1.NewBuilder()
	eventtest.Sample(builder, "n", 1, 1024)
	batch := &eventv1.Batch{}
	if err := eventv1.NewDecoder().Decode(builder.Encode(), batch); err != nil {
		t.Fatal(err)
	}
	events := make([]eventv1.Event, batch.Count)
	r := eventv1.NewReader()
	r.Reset(batch)
	for i := range events {
		if !r.Next(&events[i]) {
			t.Fatal(r.Err())
		}
	}
	return batch, events
}

func shipped(t testing.TB) []rule.File {
	t.Helper()
	files, err := rules.Files()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Macros and lists that the rules of manyRules share, in the shape that rule sets commonly have.
const manyShared = `
lists:
  shell_names: [sh, bash, dash, zsh, ksh, csh, tcsh, fish, ash]
  package_tools: [dpkg, apt, apt-get, aptitude, unattended-upgr, yum, dnf, rpm, apk, pip, npm, snapd, frontend]
  shell_init: [.bashrc, .bash_profile, .profile, .zshrc, .zprofile, .cshrc, .tcshrc]
  user_tools: [useradd, usermod, userdel, groupadd, chage, passwd, vipw, newusers, pwconv, adduser]
  server_names: [nginx, httpd, apache2, mysqld, postgres, redis-server, mongod, lighttpd, caddy, tomcat]
  trusted_images: [registry.example/ops/agent, registry.example/ops/backup, registry.example/ops/proxy]
macros:
  started: evt.type in ["execve", "execveat"] && evt.rawres == 0
  opened: evt.type in ["open", "openat", "openat2"] && fd.typechar == "f" && fd.num >= 0
  reads: opened && evt.is_open_read
  writes: opened && evt.is_open_write
  moved: evt.type in ["rename", "renameat", "renameat2"]
  deleted: evt.type in ["unlink", "unlinkat"]
  goes_out: evt.type == "connect" && evt.res in ["SUCCESS", "EINPROGRESS"] && fd.sockfamily == "ip" && !fd.rip.inCidr(["127.0.0.0/8", "::1/128"])
  contained: container.id != "host"
  packaging: proc.name in package_tools || proc.pname in package_tools || "apt-get" in proc.aname
  known_image: container.image.repository in trusted_images || container.image.repository.startsWith("registry.example/system/")
  shellish: proc.name in shell_names
  interactive: proc.tty != 0 || proc.sname in ["sshd", "login", "tmux", "screen"]
`

// shapes are conditions of the shapes that published rule sets have; %[1]d and %[2]s vary from rule to rule.
var shapes = []string{
	`reads && fd.name in ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/secret%[1]d"] && !(proc.name in user_tools) && !packaging && proc.name != "%[2]s"`,
	`reads && (fd.name.startsWith("/root/.ssh/") || fd.name.startsWith("/etc/ssh%[1]d/")) && !(proc.name in ["ssh", "sshd", "%[2]s"]) && has(proc.name)`,
	`writes && fd.name.startsWithAny(["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/opt/tool%[1]d/"]) && !packaging && !(proc.name in ["%[2]s", "ldconfig"]) && !proc.cmdline.contains("--update%[1]d")`,
	`writes && (fd.filename in shell_init || fd.name in ["/etc/profile", "/etc/bash.bashrc", "/etc/csh.login%[1]d"]) && !shellish && !packaging`,
	`writes && fd.directory in ["/etc/cron.d", "/etc/cron.daily", "/var/spool/cron", "/etc/cron%[1]d"] && !(proc.name in ["crontab", "%[2]s"]) && !packaging`,
	`started && proc.name in ["nmap%[1]d", "%[2]s", "masscan", "hydra"] && !known_image`,
	`started && shellish && contained && interactive && !known_image && proc.pname != "%[2]s" && !(proc.pname in ["runc:[%[1]d]", "docker-init"])`,
	`started && proc.pname in server_names && (shellish || proc.name == "%[2]s") && !proc.cmdline.startsWith("sh -c /opt/%[1]d")`,
	`started && (proc.cmdline.contains("stratum%[1]d+tcp") || proc.cmdline.contains("pool.%[2]s") || proc.args.icontains("Mine%[1]d"))`,
	`started && proc.exepath.startsWithAny(["/dev/shm/", "/tmp/.%[2]s", "/run/x%[1]d/"]) && !(user.uid == %[1]d && contained)`,
	`started && proc.is_exe_upper_layer && contained && !known_image && proc.exe_ino.ctime > 0 && proc.name != "%[2]s" && user.uid != %[1]d`,
	`started && proc.name in ["bash", "%[2]s"] && proc.args.matches("(curl|wget) .*http%[1]d")`,
	`goes_out && proc.name in ["nc", "ncat", "%[2]s"] && fd.rport in [4444, 1337, 300%[1]d]`,
	`goes_out && contained && !known_image && (fd.rip == "169.254.169.%[1]d" || fd.rip == "198.51.100.%[1]d") && proc.name != "%[2]s"`,
	`goes_out && shellish && !(fd.rport in [53, 443%[1]d]) && "%[2]s" in proc.aname`,
	`deleted && evt.arg.name.startsWith("/var/log/%[2]s") && !packaging && user.uid != %[1]d`,
	`deleted && evt.arg.name.basename() in [".bash_history", ".zsh_history", ".%[2]s%[1]d_history"]`,
	`moved && evt.arg.newpath.startsWithAny(["/bin/", "/usr/bin/", "/lib%[1]d/"]) && !packaging && proc.name != "%[2]s"`,
}

// manyRules are n rules of the shapes with constants of their own.
func manyRules(t testing.TB, n int) []rule.File {
	t.Helper()
	var b strings.Builder
	b.WriteString(manyShared + "rules:\n")
	for i := range n {
		name := fmt.Sprintf("tool%c%d", 'a'+i%26, i)
		fmt.Fprintf(&b, "  - id: rule-%05d\n    name: Rule\n    condition: |\n      %s\n    output: \"%%proc.name\"\n    priority: error\n", i, fmt.Sprintf(shapes[i%len(shapes)], i/len(shapes), name))
	}
	return []rule.File{parse(t, "many", b.String())}
}

func compileSet(t testing.TB, files []rule.File, o ruleset.Options) *ruleset.Set {
	t.Helper()
	o.OnError = func(id string, err error) { t.Errorf("rule %s failed: %v", id, err) }
	set, err := ruleset.Compile(files, o)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// cpuTime is what the program has used of the processors, which does not grow while others have them.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// evaluate runs one event of the sample per op; batches begin anew every 256 events.
func evaluate(b *testing.B, files []rule.File, o ruleset.Options) {
	set := compileSet(b, files, o)
	batch, events := sample(b)
	engine, v := set.Engine(), field.NewView()
	hits := 0
	emit := func(*ruleset.Rule) { hits++ }
	b.ReportAllocs()
	i := 0
	start := cpuTime(b)
	for b.Loop() {
		if i%256 == 0 {
			engine.Batch(v, batch)
		}
		e := &events[i%len(events)]
		v.Event(e)
		engine.Eval(v, e, emit)
		i++
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
	b.ReportMetric(float64(len(set.Rules())), "rules")
}

// BenchmarkEval evaluates decoded events; cel-go and compiled form a pair.
func BenchmarkEval(b *testing.B) {
	for _, set := range []struct {
		name  string
		files []rule.File
	}{{"shipped", shipped(b)}, {"90", manyRules(b, 90)}, {"360", manyRules(b, 360)}, {"1440", manyRules(b, 1440)}} {
		b.Run("compiled/rules="+set.name, func(b *testing.B) { evaluate(b, set.files, ruleset.Options{}) })
		if set.name == "shipped" || set.name == "90" {
			b.Run("cel-go/rules="+set.name, func(b *testing.B) { evaluate(b, set.files, ruleset.Options{Interpret: true}) })
		}
	}
}

// BenchmarkDecodeEval also decodes each event, as the evaluator does.
func BenchmarkDecodeEval(b *testing.B) {
	set := compileSet(b, shipped(b), ruleset.Options{})
	batch, _ := sample(b)
	engine, v, r := set.Engine(), field.NewView(), eventv1.NewReader()
	var e eventv1.Event
	b.ReportAllocs()
	for b.Loop() {
		if !r.Next(&e) {
			r.Reset(batch)
			engine.Batch(v, batch)
			r.Next(&e)
		}
		v.Event(&e)
		engine.Eval(v, &e, func(*ruleset.Rule) {})
	}
}

// BenchmarkCompile loads rule sets.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{100, 1000} {
		files := manyRules(b, n)
		b.Run(fmt.Sprint("rules=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				compileSet(b, files, ruleset.Options{})
			}
		})
	}
}
