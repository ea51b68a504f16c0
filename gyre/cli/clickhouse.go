package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// ddlCommand prints the schema, for those who make it by hand or read it before they let a sink do so.
func (a *app) ddlCommand() *cobra.Command {
	var cluster string
	c := &cobra.Command{
		Use: "ddl", Short: "Print the schema's statements, for one server or a cluster", Args: cobra.NoArgs,
		Long: "The statements are those that the sink runs when it starts. It needs none of them run beforehand.\n" +
			"docs/clickhouse.md says what a cluster has to have.",
		RunE: func(*cobra.Command, []string) error {
			list, err := clickhouse.DDL(cluster)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, strings.Join(list, ";\n\n")+";")
			return err
		},
	}
	c.Flags().StringVar(&cluster, "cluster", "", "name of the cluster, as in system.clusters: replicated local tables, and Distributed ones over them")
	return c
}
