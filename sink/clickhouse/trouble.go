package clickhouse

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// State says in a word whether the database takes rows, and why not.
type State string

// States of the database. All but [StateOK] pass by themselves or by an operator's work: rows wait meanwhile.
const (
	StateStarting    State = "starting"    // not asked yet
	StateOK          State = "ok"          // it takes rows
	StateUnreachable State = "unreachable" // no connection, or it broke
	StateDenied      State = "denied"      // user, password or grants
	StateReadOnly    State = "read_only"   // the server, the table or the user may only read
	StateDiskFull    State = "disk_full"   // no room for rows
	StateMemory      State = "memory"      // a memory limit
	StateSlow        State = "slow"        // time limits, too much at once, or merges that fall behind
	StateSchema      State = "schema"      // tables that this program cannot work with
	StateFailing     State = "failing"     // anything else that the server says
)

// States lists all states.
func States() []State {
	return []State{StateStarting, StateOK, StateUnreachable, StateDenied, StateReadOnly, StateDiskFull, StateMemory, StateSlow, StateSchema, StateFailing}
}

// Trouble is what an error means for rows that are to be stored. None of it means that rows may be dropped, but those with Row
// that are refused alone.
type Trouble struct {
	State State
	// Code and Name are the server's, 0 and "" if the error is not of the server.
	Code int32
	Name string
	// Remedy says what an operator can do.
	Remedy string
	// Row: the content of a row is refused, and will be again.
	Row bool
	// Split: fewer rows at once may be taken.
	Split bool
	// Unknown: the code is not one of those that are known to pass; a row may be the cause.
	Unknown bool
}

const (
	remedyConnect  = "start the server, or correct sink.clickhouse.dsn; alerts wait in the stream"
	remedyDenied   = "correct user and password of sink.clickhouse.dsn, and grant the user SELECT, INSERT, CREATE and ALTER on the database"
	remedyReadOnly = "let the user write (readonly = 0 in its profile), or make the table writable again: SYSTEM RESTORE REPLICA, and look whether ZooKeeper or Keeper answers"
	remedyDisk     = "free space on the disk of the ClickHouse data, or shorten sink.clickhouse.retention; alerts wait in the stream"
	remedyMemory   = "raise max_server_memory_usage or max_memory_usage of the server, or lower sink.batch_rows"
	remedySlow     = "look at the server's load, disks and merges (system.merges, system.parts); alerts wait in the stream"
	remedySchema   = "run one release of gyre on this database, the newest that wrote to it; or give sink.clickhouse.dsn another database"
	remedyServer   = "read the server's message and log; alerts wait in the stream"
	remedyRow      = "the alert is in the stream DEAD with this reason"
)

// troubles says what the server's error codes mean; names are those of the server's error list.
var troubles = map[int32]Trouble{ // never changed
	3:   {State: StateUnreachable, Name: "UNEXPECTED_END_OF_FILE", Remedy: remedyConnect},
	95:  {State: StateUnreachable, Name: "CANNOT_READ_FROM_SOCKET", Remedy: remedyConnect},
	96:  {State: StateUnreachable, Name: "CANNOT_WRITE_TO_SOCKET", Remedy: remedyConnect},
	210: {State: StateUnreachable, Name: "NETWORK_ERROR", Remedy: remedyConnect},
	279: {State: StateUnreachable, Name: "ALL_CONNECTION_TRIES_FAILED", Remedy: remedyConnect},
	394: {State: StateUnreachable, Name: "QUERY_WAS_CANCELLED", Remedy: remedyConnect},
	236: {State: StateUnreachable, Name: "ABORTED", Remedy: remedyConnect}, // the server shuts down
	999: {State: StateUnreachable, Name: "KEEPER_EXCEPTION", Remedy: remedyServer},
	225: {State: StateReadOnly, Name: "NO_ZOOKEEPER", Remedy: remedyReadOnly},

	164: {State: StateReadOnly, Name: "READONLY", Remedy: remedyReadOnly},
	242: {State: StateReadOnly, Name: "TABLE_IS_READ_ONLY", Remedy: remedyReadOnly},

	192: {State: StateDenied, Name: "UNKNOWN_USER", Remedy: remedyDenied},
	193: {State: StateDenied, Name: "WRONG_PASSWORD", Remedy: remedyDenied},
	194: {State: StateDenied, Name: "REQUIRED_PASSWORD", Remedy: remedyDenied},
	195: {State: StateDenied, Name: "IP_ADDRESS_NOT_ALLOWED", Remedy: remedyDenied},
	291: {State: StateDenied, Name: "DATABASE_ACCESS_DENIED", Remedy: remedyDenied},
	497: {State: StateDenied, Name: "ACCESS_DENIED", Remedy: remedyDenied},
	516: {State: StateDenied, Name: "AUTHENTICATION_FAILED", Remedy: remedyDenied},
	720: {State: StateDenied, Name: "USER_EXPIRED", Remedy: remedyDenied},

	243: {State: StateDiskFull, Name: "NOT_ENOUGH_SPACE", Remedy: remedyDisk},
	172: {State: StateDiskFull, Name: "CANNOT_CREATE_DIRECTORY", Remedy: remedyDisk},
	204: {State: StateDiskFull, Name: "CANNOT_FSYNC", Remedy: remedyDisk},

	173: {State: StateMemory, Name: "CANNOT_ALLOCATE_MEMORY", Remedy: remedyMemory, Split: true},
	241: {State: StateMemory, Name: "MEMORY_LIMIT_EXCEEDED", Remedy: remedyMemory, Split: true},

	158: {State: StateSlow, Name: "TOO_MANY_ROWS", Remedy: remedySlow, Split: true},
	159: {State: StateSlow, Name: "TIMEOUT_EXCEEDED", Remedy: remedySlow},
	160: {State: StateSlow, Name: "TOO_SLOW", Remedy: remedySlow},
	201: {State: StateSlow, Name: "QUOTA_EXCEEDED", Remedy: "raise the user's quota; alerts wait in the stream"},
	202: {State: StateSlow, Name: "TOO_MANY_SIMULTANEOUS_QUERIES", Remedy: remedySlow},
	209: {State: StateSlow, Name: "SOCKET_TIMEOUT", Remedy: remedySlow},
	252: {State: StateSlow, Name: "TOO_MANY_PARTS", Remedy: "raise sink.batch_rows or sink.batch_wait, and see whether merges run (system.merges, disk)"},
	307: {State: StateSlow, Name: "TOO_MANY_BYTES", Remedy: remedySlow, Split: true},
	319: {State: StateSlow, Name: "UNKNOWN_STATUS_OF_INSERT", Remedy: remedySlow},
	473: {State: StateSlow, Name: "DEADLOCK_AVOIDED", Remedy: remedySlow},

	7:   {State: StateSchema, Name: "INCORRECT_NUMBER_OF_COLUMNS", Remedy: remedySchema},
	8:   {State: StateSchema, Name: "THERE_IS_NO_COLUMN", Remedy: remedySchema},
	10:  {State: StateSchema, Name: "NOT_FOUND_COLUMN_IN_BLOCK", Remedy: remedySchema},
	16:  {State: StateSchema, Name: "NO_SUCH_COLUMN_IN_TABLE", Remedy: remedySchema},
	36:  {State: StateSchema, Name: "BAD_ARGUMENTS", Remedy: remedySchema},
	47:  {State: StateSchema, Name: "UNKNOWN_IDENTIFIER", Remedy: remedySchema},
	50:  {State: StateSchema, Name: "UNKNOWN_TYPE", Remedy: remedySchema},
	53:  {State: StateSchema, Name: "TYPE_MISMATCH", Remedy: remedySchema},
	60:  {State: StateSchema, Name: "UNKNOWN_TABLE", Remedy: "the table was dropped: restart the sink to make it again if schema_migrations is gone too, or restore a backup"},
	81:  {State: StateSchema, Name: "UNKNOWN_DATABASE", Remedy: "CREATE DATABASE, or correct the database in sink.clickhouse.dsn"},
	115: {State: StateSchema, Name: "UNKNOWN_SETTING", Remedy: "use ClickHouse 25.3 or later"},
	218: {State: StateSchema, Name: "TABLE_IS_DROPPED", Remedy: remedySchema},
	452: {State: StateReadOnly, Name: "SETTING_CONSTRAINT_VIOLATION", Remedy: "let the user set async_insert, insert_deduplication_token and max_execution_time"},

	6:   {State: StateFailing, Name: "CANNOT_PARSE_TEXT", Remedy: remedyRow, Row: true, Split: true},
	27:  {State: StateFailing, Name: "CANNOT_PARSE_INPUT_ASSERTION_FAILED", Remedy: remedyRow, Row: true, Split: true},
	38:  {State: StateFailing, Name: "CANNOT_PARSE_DATE", Remedy: remedyRow, Row: true, Split: true},
	41:  {State: StateFailing, Name: "CANNOT_PARSE_DATETIME", Remedy: remedyRow, Row: true, Split: true},
	69:  {State: StateFailing, Name: "ARGUMENT_OUT_OF_BOUND", Remedy: remedyRow, Row: true, Split: true},
	70:  {State: StateFailing, Name: "CANNOT_CONVERT_TYPE", Remedy: remedyRow, Row: true, Split: true},
	72:  {State: StateFailing, Name: "CANNOT_PARSE_NUMBER", Remedy: remedyRow, Row: true, Split: true},
	117: {State: StateFailing, Name: "INCORRECT_DATA", Remedy: remedyRow, Row: true, Split: true},
	128: {State: StateFailing, Name: "TOO_LARGE_ARRAY_SIZE", Remedy: remedyRow, Row: true, Split: true},
	131: {State: StateFailing, Name: "TOO_LARGE_STRING_SIZE", Remedy: remedyRow, Row: true, Split: true},
	321: {State: StateFailing, Name: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", Remedy: remedyRow, Row: true, Split: true},
	349: {State: StateFailing, Name: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", Remedy: remedyRow, Row: true, Split: true},
	469: {State: StateFailing, Name: "VIOLATED_CONSTRAINT", Remedy: remedyRow, Row: true, Split: true},
	691: {State: StateFailing, Name: "UNKNOWN_ELEMENT_OF_ENUM", Remedy: remedyRow, Row: true, Split: true},
}

// Diagnose says what an error of the Store's methods means. Of nil it is [StateOK].
func Diagnose(err error) Trouble {
	var e *ch.Exception
	var wait net.Error
	var op *net.OpError
	switch {
	case err == nil:
		return Trouble{State: StateOK}
	case errors.As(err, &e):
		return ofServer(e.Code, e.Message)
	case errors.Is(err, ErrSchema), errors.Is(err, embedded.ErrTooOld):
		return Trouble{State: StateSchema, Remedy: remedySchema}
	case errors.Is(err, ErrConnect), errors.As(err, &op) && op.Op == "dial":
		return Trouble{State: StateUnreachable, Remedy: remedyConnect}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &wait) && wait.Timeout(), errors.Is(err, ch.ErrAcquireConnTimeout):
		return Trouble{State: StateSlow, Remedy: remedySlow}
	default:
		return Trouble{State: StateUnreachable, Remedy: remedyConnect}
	}
}

// ofServer reads the server's code. Where the code is that of the outermost of several errors, the text names the cause.
func ofServer(code int32, text string) Trouble {
	t, known := troubles[code]
	switch {
	case strings.Contains(text, syscall.ENOSPC.Error()), strings.Contains(strings.ToLower(text), "no space left"):
		t = Trouble{State: StateDiskFull, Name: t.Name, Remedy: remedyDisk}
	case strings.Contains(text, "Read-only file system"):
		t = Trouble{State: StateReadOnly, Name: t.Name, Remedy: "mount the file system of the ClickHouse data for writing again, after a look at the kernel's log"}
	case code == 252 && strings.Contains(text, "partitions for single INSERT"):
		t.Split = true // alerts of more than 100 days
	case !known:
		t = Trouble{State: StateFailing, Remedy: remedyServer, Unknown: true, Split: true}
	}
	t.Code = code
	return t
}
