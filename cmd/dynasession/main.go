// Dynasession looks after a table of sessions in Amazon DynamoDB: it creates and checks the table, lists and ends sessions, and
// deletes what has expired. README.md shows it at work.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dynasession/dynasession"
)

// The exit codes. README.md has the table.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitTable       = 3
	exitLeft        = 4
	exitUnavailable = 5
	exitInterrupted = 130
)

var (
	errUsage  = errors.New("usage")
	errLeft   = errors.New("some were left")
	errNotYes = fmt.Errorf("%w: nothing was deleted: pass --yes, or answer y on a terminal", errUsage)
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		_, _ = fmt.Fprintln(stderr, "dynasession: interrupted")
		return exitInterrupted
	}
	_, _ = fmt.Fprintf(stderr, "dynasession: %s\n", strings.TrimPrefix(err.Error(), "dynasession: "))
	switch {
	case errors.Is(err, dynasession.ErrUnavailable), errors.Is(err, dynasession.ErrCredentials):
		return exitUnavailable
	case errors.Is(err, dynasession.ErrTable):
		return exitTable
	case errors.Is(err, errLeft):
		return exitLeft
	case errors.Is(err, errUsage), isUsage(err):
		return exitUsage
	}
	return exitError
}

// isUsage reports whether err is one of cobra's own about the command line, for which it has no type.
func isUsage(err error) bool {
	for _, text := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires at least", "invalid argument", "required flag", "flag needs an argument"} {
		if strings.HasPrefix(err.Error(), text) {
			return true
		}
	}
	return false
}

// app is what the commands share: the flags that all of them have.
type app struct {
	table, name, profile, region, endpoint string
	output                                 string
	yes                                    bool
}

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "dynasession",
		Short: "Look after a table of sessions in Amazon DynamoDB",
		Long: "Dynasession looks after a table of sessions in Amazon DynamoDB.\n\n" +
			"It takes the settings of the application, from the environment variables DYNASESSION_* and AWS_*.\n" +
			"It shows sessions by their refs, which open nothing; it never shows an id.",
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			switch a.output {
			case "table", "json", "jsonl":
				return nil
			}
			return fmt.Errorf("%w: --output is %q: it must be table, json or jsonl", errUsage, a.output)
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.table, "table", "", "name of the table (DYNASESSION_TABLE)")
	f.StringVar(&a.name, "name", "", "name of the store (DYNASESSION_NAME)")
	f.StringVar(&a.profile, "profile", "", "AWS profile (AWS_PROFILE)")
	f.StringVar(&a.region, "region", "", "AWS Region (AWS_REGION)")
	f.StringVar(&a.endpoint, "endpoint-url", "", "address of DynamoDB (AWS_ENDPOINT_URL_DYNAMODB)")
	f.StringVarP(&a.output, "output", "o", "table", "table, json or jsonl")
	f.BoolVarP(&a.yes, "yes", "y", false, "delete without asking")
	root.AddCommand(a.tableCommand(), a.sweepCommand(), a.sessionsCommand(), a.usersCommand(), a.statsCommand(), a.keysCommand(),
		a.localCommand(), a.configCommand(), versionCommand())
	return root
}

// config returns the settings of the environment, with those of the flags over them.
func (a *app) config() (dynasession.Config, error) {
	cfg, err := dynasession.ConfigFromEnv()
	if a.table != "" {
		cfg.Table = a.table
	}
	if a.name != "" {
		cfg.Name = a.name
	}
	return cfg, err
}

func (a *app) client(ctx context.Context) (*dynamodb.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(a.profile))
	if err != nil {
		return nil, fmt.Errorf("AWS settings: %w", err)
	}
	if a.region != "" {
		cfg.Region = a.region
	}
	return dynasession.NewClient(cfg, func(o *dynamodb.Options) {
		if a.endpoint != "" {
			o.BaseEndpoint = aws.String(a.endpoint)
		}
	}), nil
}

// store returns the store, its client and its settings.
func (a *app) store(ctx context.Context) (*dynasession.Store, *dynamodb.Client, dynasession.Config, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, nil, cfg, err
	}
	client, err := a.client(ctx)
	if err != nil {
		return nil, nil, cfg, err
	}
	s, err := dynasession.New(client, cfg)
	return s, client, cfg, err
}

// confirm asks before something is deleted. It returns nil for yes.
func (a *app) confirm(cmd *cobra.Command, what string) error {
	if a.yes {
		return nil
	}
	if in, ok := cmd.InOrStdin().(*os.File); !ok || !isTerminal(in) {
		return errNotYes
	}
	cmd.PrintErrf("%s? [y/N] ", what)
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if strings.EqualFold(strings.TrimSpace(line), "y") {
		return nil
	}
	return errNotYes
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use: "config", Short: "Show the settings", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			client, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			cmd.Println(cfg)
			cmd.Println("region: " + client.Options().Region)
			_, err = dynasession.New(client, cfg)
			return err
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			version := "(devel)"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				version = info.Main.Version
			}
			cmd.Println("dynasession " + version)
		},
	}
}
