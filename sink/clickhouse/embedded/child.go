package embedded

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// ChildArg is the first argument of a process that is to become the ClickHouse
// server: the program re-executes itself, and its main calls [ChildMain] then.
const ChildArg = "embedded-clickhouse-server"

// holdQuery keeps clickhouse-local running; its listeners serve meanwhile. Killing it is the clean stop.
const holdQuery = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM system.numbers " +
	"SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0, max_threads=1 FORMAT Null"

// ChildMain is the server process: args are the library, the data directory, the
// configuration file, the TCP port and the HTTP port. The password comes in
// GYRE_CLICKHOUSE_PASSWORD. SIGTERM and SIGINT stop it cleanly. It returns the exit code.
func ChildMain(args []string) int {
	if len(args) != 5 {
		fmt.Fprintln(os.Stderr, "embedded clickhouse: want 5 arguments")
		return 2
	}
	lib, dir, config, tcp, httpPort := args[0], args[1], args[2], args[3], args[4]
	password := os.Getenv("GYRE_CLICKHOUSE_PASSWORD")
	if err := os.Unsetenv("GYRE_CLICKHOUSE_PASSWORD"); err != nil {
		fmt.Fprintln(os.Stderr, "embedded clickhouse:", err)
		return 1
	}
	go killOnSignal(httpPort, password)
	if err := serve(lib, []string{
		"clickhouse", "--path=" + dir, "--listen_host=127.0.0.1", "--tcp_port=" + tcp, "--http_port=" + httpPort, "--config-file=" + config, "--query", holdQuery,
	}); err != nil {
		fmt.Fprintln(os.Stderr, "embedded clickhouse:", err)
		return 1
	}
	return 0
}

// serve calls the library's clickhouse-local command line, which returns when the holding query ends.
func serve(lib string, argv []string) error {
	runtime.LockOSThread()
	handle, err := purego.Dlopen(lib, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", lib, err)
	}
	var setSignalHandlers func(int32)
	var queryCmdline func(argc int32, argv **byte) unsafe.Pointer
	purego.RegisterLibFunc(&setSignalHandlers, handle, "chdb_set_signal_handlers_enabled")
	purego.RegisterLibFunc(&queryCmdline, handle, "chdb_query_cmdline")
	setSignalHandlers(0)
	ptrs := make([]*byte, len(argv)+1)
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, a := range argv {
		b := append([]byte(a), 0)
		pin.Pin(&b[0])
		ptrs[i] = &b[0]
	}
	queryCmdline(int32(len(argv)), &ptrs[0])
	return nil
}

// killOnSignal ends the holding query when the process is asked to stop. The process ends by itself then; the supervisor's SIGKILL is the last resort.
func killOnSignal(port, password string) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	<-c
	for range 20 {
		if err := post(port, password, "KILL QUERY WHERE query LIKE '%sleepEachRow(1) FROM system.numbers%' ASYNC"); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond) // not listening yet
	}
	os.Exit(1)
}

func post(port, password, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+port+"/", strings.NewReader(query))
	if err != nil {
		return err
	}
	req.Header.Set("X-ClickHouse-User", user)
	req.Header.Set("X-ClickHouse-Key", password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("clickhouse answers %s", resp.Status)
	}
	return nil
}

// configFile writes the server's configuration: one user of the network with a random
// password. The user default, as whom the holding query runs, may not come from the network.
func configFile(dir, passwordSHA256 string) (string, error) {
	config, users := filepath.Join(dir, "config.xml"), filepath.Join(dir, "users.xml")
	for path, text := range map[string]string{
		config: `<clickhouse>
  <logger><level>warning</level><console>1</console></logger>
  <users_config>` + users + `</users_config>
  <mark_cache_size>134217728</mark_cache_size>
  <max_server_memory_usage>4294967296</max_server_memory_usage>
</clickhouse>
`,
		users: `<clickhouse>
  <profiles><default></default></profiles>
  <quotas><default></default></quotas>
  <users>
    <` + user + `>
      <password_sha256_hex>` + passwordSHA256 + `</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>1</access_management>
    </` + user + `>
    <default>
      <password></password>
      <networks><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </default>
  </users>
</clickhouse>
`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write ClickHouse configuration: %w", err)
		}
	}
	return config, nil
}
