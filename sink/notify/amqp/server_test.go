package amqp

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

const program = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// free returns an address on which nobody listens now.
func free(t *testing.T) (addr, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(addr)
	return addr, port
}

// start starts RabbitMQ with a port mapper of its own, without which Erlang would leave one running on this machine.
func start(t *testing.T, ca *notifytest.CA) broker {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		const why = "SKIPPED: no RabbitMQ on this machine: install it with apt-get install rabbitmq-server (make deps)"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir, err := os.MkdirTemp("", "gyre-amqp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var b broker
	b.plain, _ = free(t)
	b.tls, _ = free(t)
	_, epmdPort := free(t)
	_, distPort := free(t)
	b.write(t, dir, ca)
	env := append(os.Environ(), "HOME="+dir, "RABBITMQ_MNESIA_BASE="+dir+"/mnesia", "RABBITMQ_LOG_BASE="+dir+"/log", "RABBITMQ_CONFIG_FILE="+dir+"/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/plugins",
		"RABBITMQ_NODENAME=gyre"+distPort+"@localhost", "RABBITMQ_DIST_PORT="+distPort, "ERL_EPMD_PORT="+epmdPort, "ERL_EPMD_ADDRESS=127.0.0.1", "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false +S 1:1")
	var out bytes.Buffer
	epmd := exec.Command("epmd", "-port", epmdPort, "-address", "127.0.0.1")
	srv := exec.Command(program)
	for cmd, death := range map[*exec.Cmd]syscall.Signal{epmd: syscall.SIGKILL, srv: syscall.SIGTERM} {
		cmd.Env, cmd.Dir, cmd.SysProcAttr = env, dir, &syscall.SysProcAttr{Pdeathsig: death}
	}
	srv.Stdout, srv.Stderr = &out, &out
	for _, cmd := range []*exec.Cmd{epmd, srv} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_ = srv.Process.Signal(syscall.SIGTERM) // its script stops the broker
		_ = srv.Wait()
		_ = epmd.Process.Kill()
		_ = epmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		c, err := client.Dial("amqp://u:" + notifytest.Secret + "@" + b.plain + "/")
		if err == nil {
			_ = c.Close()
			return b
		}
		<-tick.C
	}
	t.Fatal("RabbitMQ does not answer in 2 minutes")
	return b
}
