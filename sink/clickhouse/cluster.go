package clickhouse

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// localSuffix ends the names of the tables that hold a shard's own rows; a Distributed table has the plain name.
const localSuffix = "_local"

// clusterName is what may be a cluster's name: a word, or a macro such as {cluster}.
var clusterName = regexp.MustCompile(`^(?:\w[\w.-]*|\{\w+\})$`)

// rendering turns statements for one server, in their order, into those for a cluster.
type rendering struct {
	cluster string
	tables  map[string]bool // plain names of those that have a local and a Distributed one
}

func newRendering(cluster string) (*rendering, error) {
	if !clusterName.MatchString(cluster) {
		return nil, fmt.Errorf("cluster is %q, want letters, digits, dots, dashes and underscores, or one macro as {cluster}", cluster)
	}
	return &rendering{cluster, map[string]bool{}}, nil
}

var (
	statementHead = regexp.MustCompile(`(?is)^(CREATE\s+(?:OR\s+REPLACE\s+)?(?:TABLE|VIEW|MATERIALIZED\s+VIEW)(?:\s+IF\s+NOT\s+EXISTS)?|ALTER\s+TABLE|DROP\s+(?:TABLE|VIEW)(?:\s+IF\s+EXISTS)?)\s+(\w+)(.*)$`)
	engineClause  = regexp.MustCompile(`(?i)\bENGINE\s*=\s*(\w+)[ \t]*`)
	orderClause   = regexp.MustCompile(`(?i)\bORDER\s+BY\s*`)
	firstSource   = regexp.MustCompile(`(?i)\bFROM\s+(\w+)`)
	viewTarget    = regexp.MustCompile(`(?is)^\s*TO\s+(\w+)`)
	columnTTL     = regexp.MustCompile(`\bTTL\b`)
	columnCommand = regexp.MustCompile(`(?i)^(?:ADD|DROP|MODIFY|RENAME|COMMENT|CLEAR)\s+COLUMN\b`)
)

// statement returns what stands for one statement. A statement of a kind that it does not know is an error.
func (r *rendering) statement(stmt string) ([]string, error) {
	stmt = strings.ReplaceAll(stmt, "non_replicated_deduplication_window", "replicated_deduplication_window")
	if strings.HasPrefix(strings.ToUpper(stmt), "INSERT INTO ") { // runs once; reads and writes the Distributed tables
		return []string{stmt}, nil
	}
	m := statementHead.FindStringSubmatch(stmt)
	if m == nil {
		return nil, fmt.Errorf("no form for a cluster is known of the statement %q", firstLine(stmt))
	}
	head, name, rest := m[1], m[2], m[3]
	verb := strings.Join(strings.Fields(strings.ToUpper(head)), " ")
	switch {
	case strings.HasPrefix(verb, "CREATE TABLE"):
		return r.createTable(head, name, rest)
	case strings.Contains(verb, "MATERIALIZED VIEW"):
		target := viewTarget.FindStringSubmatchIndex(rest)
		if target == nil || !r.tables[rest[target[2]:target[3]]] {
			return nil, fmt.Errorf("materialized view %s has no table of its own to write to, after TO", name)
		}
		rest, err := r.localSource(name, rest[:target[3]]+localSuffix+rest[target[3]:])
		return []string{head + " " + name + r.on() + rest}, err
	case strings.HasPrefix(verb, "DROP TABLE") && r.tables[name]:
		delete(r.tables, name)
		return []string{head + " " + name + r.on() + rest, head + " " + name + localSuffix + r.on() + rest}, nil
	case verb == "ALTER TABLE":
		return r.alter(name, rest)
	default: // a view reads the Distributed tables under their plain names
		return []string{head + " " + name + r.on() + rest}, nil
	}
}

func (r *rendering) on() string { return " ON CLUSTER '" + r.cluster + "'" }

// createTable returns the replicated local table, and the Distributed one over it.
func (r *rendering) createTable(head, name, rest string) ([]string, error) {
	open := strings.IndexByte(rest, '(')
	end := -1
	if open >= 0 {
		end = closing(rest, open)
	}
	if end < 0 {
		return nil, fmt.Errorf("table %s has no list of columns", name)
	}
	columns, options := rest[:end+1], rest[end+1:]
	engine := engineClause.FindStringSubmatchIndex(options)
	if engine == nil {
		return nil, fmt.Errorf("table %s has no engine", name)
	}
	kind, after, args := options[engine[2]:engine[3]], options[engine[1]:], ""
	if !strings.HasSuffix(kind, "MergeTree") || strings.HasPrefix(kind, "Replicated") {
		return nil, fmt.Errorf("table %s has the engine %s, which has no replicated form", name, kind)
	}
	if strings.HasPrefix(after, "(") {
		last := closing(after, 0)
		if last < 0 {
			return nil, fmt.Errorf("table %s: the engine's arguments do not end", name)
		}
		if args = strings.TrimSpace(after[1:last]); args != "" {
			args = ", " + args
		}
		after = after[last+1:]
	}
	key, err := shardingKey(name, after)
	if err != nil {
		return nil, err
	}
	r.tables[name] = true
	local := name + localSuffix
	replicated := fmt.Sprintf("ENGINE = Replicated%s('/clickhouse/tables/{shard}/{database}/%s', '{replica}'%s)", kind, name, args)
	if after = strings.TrimLeft(after, " \t"); after != "" && after[0] != '\n' {
		replicated += " "
	}
	return []string{
		head + " " + local + r.on() + columns + options[:engine[0]] + replicated + after,
		fmt.Sprintf("%s %s%s AS %s\nENGINE = Distributed('%s', currentDatabase(), '%s', %s)", head, name, r.on(), local, r.cluster, local, key),
	}, nil
}

// shardingKey sends rows that one server would merge to one shard, as FINAL merges those of a shard only: it is a hash of
// a part of the table's sorting key.
func shardingKey(table, options string) (string, error) {
	at := orderClause.FindStringIndex(options)
	if at == nil {
		return "", fmt.Errorf("table %s has no ORDER BY, which says what goes to which shard", table)
	}
	list := options[at[1]:]
	if strings.HasPrefix(list, "(") {
		last := closing(list, 0)
		if last < 0 {
			return "", fmt.Errorf("table %s: ORDER BY does not end", table)
		}
		list = list[1:last]
	} else {
		words := strings.FieldsFunc(list, func(c rune) bool { return unicode.IsSpace(c) || c == ';' })
		if len(words) == 0 {
			return "", fmt.Errorf("table %s: ORDER BY is empty", table)
		}
		list = words[0]
	}
	key := splitTop(list)
	for _, column := range []string{"id", "alert_id", "node"} {
		if slices.Contains(key, column) {
			return "sipHash64(" + column + ")", nil
		}
	}
	return "sipHash64(" + strings.Join(key, ", ") + ")", nil
}

// alter changes the local table, and the Distributed one as far as it has what is changed: columns.
func (r *rendering) alter(name, rest string) ([]string, error) {
	if !r.tables[name] {
		if strings.HasPrefix(strings.ToUpper(strings.TrimSpace(rest)), "MODIFY QUERY") {
			var err error
			if rest, err = r.localSource(name, rest); err != nil {
				return nil, err
			}
		}
		return []string{"ALTER TABLE " + name + r.on() + rest}, nil
	}
	out := []string{"ALTER TABLE " + name + localSuffix + r.on() + rest}
	var columns []string
	for _, c := range splitTop(rest) {
		if columnCommand.MatchString(c) {
			if columnTTL.MatchString(c) {
				return nil, fmt.Errorf("table %s: a Distributed table has no TTL of a column: %s", name, c)
			}
			columns = append(columns, c)
		}
	}
	if columns != nil {
		out = append(out, "ALTER TABLE "+name+r.on()+" "+strings.Join(columns, ", "))
	}
	return out, nil
}

// localSource has a materialized view read the local table: it sees the rows that are inserted on its own server.
func (r *rendering) localSource(view, query string) (string, error) {
	m := firstSource.FindStringSubmatchIndex(query)
	if m == nil || !r.tables[query[m[2]:m[3]]] {
		return "", fmt.Errorf("materialized view %s does not read a table that was made before it", view)
	}
	return query[:m[3]] + localSuffix + query[m[3]:], nil
}

// closing returns where the bracket at open is closed, -1 if nowhere. Brackets in quotes do not count.
func closing(s string, open int) int {
	depth, at := 0, -1
	scan(s[open:], func(i int, c byte) bool {
		switch c {
		case '(', '[':
			depth++
		case ')', ']':
			if depth--; depth == 0 {
				at = open + i
			}
		}
		return at < 0
	})
	return at
}

// splitTop splits at commas outside of brackets and quotes, and takes blanks away.
func splitTop(s string) []string {
	var out []string
	depth, from := 0, 0
	scan(s, func(i int, c byte) bool {
		switch c {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',':
			if depth == 0 {
				out, from = append(out, strings.TrimSpace(s[from:i])), i+1
			}
		}
		return true
	})
	return append(out, strings.TrimSpace(s[from:]))
}

// scan gives the bytes of s outside of quotes and comments, until do says no.
func scan(s string, do func(i int, c byte) bool) {
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == '\n' && c == '\n', quote != 0 && quote != '\n' && c == quote:
			quote = 0
		case quote != 0:
			if c == '\\' && quote != '\n' {
				i++
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case strings.HasPrefix(s[i:], "--"):
			quote = '\n'
		default:
			if !do(i, c) {
				return
			}
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return cmp.Or(strings.TrimSpace(line), s)
}
