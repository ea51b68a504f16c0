package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// attacks are what the shipped rules look for, done so that nothing is harmed: each a script of bash that works in its
// own directory $D and takes back what it does elsewhere. $LISTENER is a port of this host that accepts connections.
var attacks = map[string]string{
	"account-with-root-id":       `cp /bin/true useradd; ./useradd -o -u 0 toor`,
	"address-randomisation-off":  `setarch -R true`,
	"archive-credentials":        `mkdir -p home/.ssh; tar cf a.tar "$D/home/.ssh"`,
	"credential-search":          `find "$D" -name 'id_rsa*'`,
	"descriptor-exhaustion":      `(ulimit -n 3; cat /etc/hostname) || true`,
	"download-to-shell":          `sh -c 'curl -s file:///dev/null | sh'`,
	"encoded-command":            `sh -c 'echo dHJ1ZQ== | base64 -d | sh'`,
	"exec-hidden-path":           `cp /bin/true .x; ./.x`,
	"exec-through-loader":        `/lib64/ld-linux-x86-64.so.2 /bin/true`,
	"exec-unusual-directory":     `cp /bin/true /var/spool/gyre-e2e; /var/spool/gyre-e2e; rm /var/spool/gyre-e2e`,
	"exec-world-writable":        `cp /bin/true x; ./x`,
	"file-upload":                `cp /bin/true curl; ./curl -T x http://127.0.0.1:1/`,
	"history-deletion":           `touch /root/.gyre_e2e_history; rm /root/.gyre_e2e_history`,
	"history-switched-off":       `ln -sf /dev/null .bash_history`,
	"immutable-flag":             `touch i; chattr +i i; chattr -i i`,
	"io-uring-by-script":         `perl -e 'syscall(425, 8, my $p = "\0" x 120)'`,
	"kernel-hardening-changed":   `f=/proc/sys/kernel/randomize_va_space; v=$(cat $f); echo "$v" >$f`,
	"kernel-thread-name":         `(exec -a '[kworker/9:9]' /bin/true)`,
	"memory-file-by-script":      `perl -e 'syscall(319, my $n = "x", 0)'`,
	"mining-command":             `/bin/true -o stratum+tcp://127.0.0.1:1`,
	"nsenter-init":               `nsenter -t 1 -u true || true`,
	"namespace-entered":          `nsenter -t $$ -u true`,
	"odd-directory-name":         `mkdir ... || true`,
	"packet-capture":             `perl -e 'socket(S, 17, 3, 0) or die'`,
	"password-on-command-line":   `/bin/true --password=hunter2`,
	"private-key-exposed":        `mkdir -p .ssh; touch .ssh/id_rsa; chmod 644 .ssh/id_rsa`,
	"privilege-search":           `find "$D" -perm -4000`,
	"process-environment-read":   `sleep 9 & cat /proc/$!/environ | wc -c; kill $!`,
	"process-injection":          `perl -e 'my $p = fork // die; if (!$p) { sleep 60; exit } syscall(101, 16, $p, 0, 0); waitpid($p, 2); kill 9, $p'`,
	"process-memory-read":        `head -c0 /proc/self/mem`,
	"process-memory-write":       `perl -e 'open(F, "+<", "/proc/self/mem") or die'`,
	"program-crashed":            `bash -c 'kill -SEGV $$' || true`,
	"ransom-note":                `: >HOW_TO_DECRYPT.txt`,
	"ransom-rename":              `touch a; mv a a.locked`,
	"raw-socket":                 `perl -e 'socket(S, 2, 3, 1) or die'`,
	"read-sensitive-file":        `cat /etc/shadow | wc -c`,
	"seccomp-violation":          `bash -c 'kill -SYS $$' || true`,
	"secure-delete":              `echo x >s; shred -u s`,
	"self-deletion":              `cp /bin/rm me; ./me -f "$D/me"`,
	"setuid-bit":                 `touch u; chmod 4755 u`,
	"shell-listens":              `perl -e 'use Socket; socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(0, INADDR_LOOPBACK)) && listen(S, 1) or die'`,
	"socket-as-stdio":            `perl -e 'use Socket; use POSIX; socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in($ENV{LISTENER}, INADDR_LOOPBACK)) && POSIX::dup2(fileno(S), 0) or die'`,
	"terminal-upgrade":           `script -qc /bin/true /dev/null </dev/null; script -qc '/bin/sh -c true' /dev/null </dev/null`,
	"user-namespace":             `setpriv --reuid 65534 --regid 65534 --clear-groups unshare -U true`,
	"world-writable-system-file": `touch /etc/gyre-e2e; chmod 666 /etc/gyre-e2e; rm /etc/gyre-e2e`,
	"write-event-hook":           `: >/etc/logrotate.d/gyre-e2e; rm /etc/logrotate.d/gyre-e2e`,
	"write-persistence":          `mkdir -p /etc/cron.d; : >/etc/cron.d/gyre-e2e; rm /etc/cron.d/gyre-e2e`,
	"write-shell-startup":        `mkdir -p /home/gyre-e2e; touch x; mv x /home/gyre-e2e/.zshrc; rm -r /home/gyre-e2e`,
}

// TestAttacks does the attacks under a real gyre up, and demands an alert of the rule that each is named for. On a busy
// host the kernel side may lose events, which it tells; attacks without an alert are tried again.
func TestAttacks(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "data")
	up := start(t, nil, "gyre", "up", "--json", "--data-dir", dir)
	ready(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	work, err := os.MkdirTemp("", "gyre-attacks-") // world-writable, as attackers like it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	missing := map[string]bool{}
	for id := range attacks {
		missing[id] = true
	}
	for round := 0; round < 3 && len(missing) > 0; round++ {
		for id := range missing {
			place := filepath.Join(work, id, fmt.Sprint(round))
			if err := os.MkdirAll(place, 0o755); err != nil {
				t.Fatal(err)
			}
			// The line names the place, so that the alert's lineage tells which attack it was.
			c := exec.Command("bash", "-ec", "cd "+place+"; D="+place+"\n"+attacks[id]+"\n:")
			c.Env = append(os.Environ(), fmt.Sprint("LISTENER=", l.Addr().(*net.TCPAddr).Port))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: the attack itself failed: %v\n%s", id, err, out)
			}
		}
		await(t, dir, work, missing, round)
	}
	if len(missing) > 0 {
		_, status, _ := gyre("status", "--data-dir", dir)
		t.Errorf("no alert of %v\n%s", missing, status)
	}
	up.stop(t)
}

// await takes the rules that raised an alert for their attack out of missing. It waits until all did, or until the
// marker that was done after the attacks has come through.
func await(t *testing.T, dir, work string, missing map[string]bool, round int) {
	t.Helper()
	marker := filepath.Join(work, fmt.Sprintf("marker-%d", round))
	if out, err := exec.Command("bash", "-c", "cp /bin/true "+marker+"; for i in 1 2 3; do "+marker+"; done; :").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	eventually(t, "the alerts", func() error {
		out, e, err := gyre("query", "--data-dir", dir, "--format", "csv",
			"SELECT DISTINCT rule_id, arrayFirst(c -> position(c, '"+work+"') > 0, lineage.cmdline) FROM alerts WHERE arrayExists(c -> position(c, '"+work+"') > 0, lineage.cmdline)")
		if err != nil {
			return says(err, e)
		}
		for _, id := range slices.Collect(maps.Keys(missing)) {
			for line := range strings.Lines(out) {
				if strings.HasPrefix(line, id+",") {
					delete(missing, id)
				}
			}
		}
		if len(missing) > 0 && !strings.Contains(out, marker) {
			return fmt.Errorf("the marker after the attacks is not there, alerts are of\n%s", out)
		}
		return nil
	})
}
