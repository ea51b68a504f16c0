// Command gyre runs the whole pipeline on one host, and is the operator's tool for a
// running one: see `gyre help`.
package main

import (
	"os"

	"github.com/gyre-sec/gyre/gyre/cli"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == embedded.ChildArg {
		os.Exit(embedded.ChildMain(os.Args[2:]))
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
