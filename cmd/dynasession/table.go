package main

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

func (a *app) tableCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "table", Short: "Create, check and describe the table"}
	withStore := func(f func(ctx context.Context, s *dynasession.Store) error, done string) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			store, _, _, err := a.store(cmd.Context())
			if err != nil {
				return err
			}
			if err := f(cmd.Context(), store); err != nil {
				return err
			}
			cmd.PrintErrln(done)
			return nil
		}
	}
	create := &cobra.Command{
		Use: "create", Short: "Create the table, or turn its TTL on", Args: cobra.NoArgs,
		RunE: withStore(func(ctx context.Context, s *dynasession.Store) error { return s.CreateTable(ctx) }, "the table is ready"),
	}
	check := &cobra.Command{
		Use: "check", Short: "Check whether the table is as the settings say", Args: cobra.NoArgs,
		RunE: withStore(func(ctx context.Context, s *dynasession.Store) error { return s.Open(ctx) }, "the table is as it must be"),
	}
	var format string
	show := &cobra.Command{
		Use: "show", Short: "Print what makes the table with other tools", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := formats.Lookup(format)
			if t == nil {
				return fmt.Errorf("%w: --format is %q: it must be terraform, cloudformation, iam or cli", errUsage, format)
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			c := completed(cfg.Attributes)
			return t.Execute(cmd.OutOrStdout(), map[string]string{
				"Table": orDefault(cfg.Table, dynasession.DefaultTable), "ID": c.ID, "Expires": c.Expires, "User": c.User, "Index": cfg.UserIndex,
			})
		},
	}
	show.Flags().StringVar(&format, "format", "terraform", "terraform, cloudformation, iam or cli")
	cmd.AddCommand(create, check, show)
	return cmd
}

//go:embed formats.tmpl
var formatsText string

var formats = template.Must(template.New("").Parse(formatsText))

func (a *app) localCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use: "local", Short: "Run an embedded DynamoDB, for development", Args: cobra.NoArgs,
		Long: "Run an embedded DynamoDB, for development. It keeps everything in memory, and takes any credentials. It creates the table\n" +
			"of the settings. Ctrl-C ends it.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, addr) },
	}
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:8000", "the address to listen on")
	return cmd
}

func (a *app) serve(cmd *cobra.Command, addr string) error {
	ctx := cmd.Context()
	db := dynamotest.NewServer()
	defer db.Close()
	cfg, err := a.config()
	if err != nil {
		return err
	}
	cfg.UserIndex = orDefault(cfg.UserIndex, "by-user") // an application without one works, too
	store, err := dynasession.New(db.Client(), cfg)
	if err != nil {
		return err
	}
	if err := store.CreateTable(ctx); err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: db, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	cmd.Printf("export AWS_ENDPOINT_URL_DYNAMODB=http://%s AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local DYNASESSION_USER_INDEX=%s\n", ln.Addr(), cfg.UserIndex)
	if err := srv.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}
