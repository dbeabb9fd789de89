package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynasession/dynasession"
)

// session is a session as it is shown. The zero Time of AuthTime and Created means that it is not known.
type session struct {
	Ref      string         `json:"ref"`
	User     string         `json:"user,omitempty"`
	Created  time.Time      `json:"created,omitzero"`
	AuthTime time.Time      `json:"authTime,omitzero"`
	LastUsed time.Time      `json:"lastUsed,omitzero"`
	Expires  time.Time      `json:"expires"`
	Values   map[string]any `json:"values,omitempty"`
}

func shown(i dynasession.Info) session {
	return session{Ref: i.Ref, User: i.User, Created: i.Created, AuthTime: i.AuthTime, LastUsed: i.LastUsed, Expires: i.Expires}
}

func (session) columns() []string { return []string{"REF", "USER", "CREATED", "LAST USED", "EXPIRES"} }

func (s session) cells() []string {
	return []string{s.Ref, s.User, timeText(s.Created), timeText(s.LastUsed), timeText(s.Expires)}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func (a *app) sessionsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sessions", Short: "List, show and end sessions"}
	var user string
	var unused time.Duration
	ls := &cobra.Command{
		Use: "ls", Short: "List the live sessions", Args: cobra.NoArgs,
		Long: "List the live sessions. Without --user, it reads the whole table; with --user, it uses the user index.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd, user, unused)
		},
	}
	ls.Flags().StringVar(&user, "user", "", "only those of this user")
	ls.Flags().DurationVar(&unused, "unused-for", 0, "only those that nobody has used for so long")

	var values bool
	show := &cobra.Command{
		Use: "show REF", Short: "Show a session", Args: cobra.ExactArgs(1),
		Long: "Show a session. It reads the table until it finds the session.",
		RunE: func(cmd *cobra.Command, refs []string) error {
			return a.show(cmd, refs[0], values)
		},
	}
	show.Flags().BoolVar(&values, "values", false, "also show the values, which may be secret")

	end := &cobra.Command{
		Use: "end REF...", Short: "End sessions", Args: cobra.MinimumNArgs(1),
		Long: "End sessions. It reads the table until it finds them.",
		RunE: func(cmd *cobra.Command, refs []string) error {
			if err := a.confirm(cmd, fmt.Sprintf("End %d session(s)", len(refs))); err != nil {
				return err
			}
			return a.end(cmd, refs)
		},
	}
	cmd.AddCommand(ls, show, end)
	return cmd
}

// all returns the sessions of a user, or of everybody.
func all(ctx context.Context, store *dynasession.Store, user string) iter.Seq2[dynasession.Info, error] {
	if user == "" {
		return store.All(ctx)
	}
	return func(yield func(dynasession.Info, error) bool) {
		infos, err := store.UserSessions(ctx, user)
		for _, i := range infos {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(dynasession.Info{}, err)
		}
	}
}

func (a *app) list(cmd *cobra.Command, user string, unused time.Duration) error {
	store, _, _, err := a.store(cmd.Context())
	if err != nil {
		return err
	}
	out := newPrinter[session](cmd, a.output)
	defer out.close()
	for i, err := range all(cmd.Context(), store, user) {
		if err != nil {
			return err
		}
		if time.Since(i.LastUsed) >= unused {
			if err := out.print(shown(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

var errNotFound = errors.New("there is no live session with that ref")

// find calls f for the live sessions with the given refs, and returns an error for those that it has not found.
func find(ctx context.Context, store *dynasession.Store, refs []string, f func(dynasession.Info) error) error {
	left := slices.Clone(refs)
	for i, err := range store.All(ctx) {
		if err != nil {
			return err
		}
		at := slices.Index(left, i.Ref)
		if at < 0 {
			continue
		}
		if err := f(i); err != nil {
			return err
		}
		if left = slices.Delete(left, at, at+1); len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: %w: %v", errLeft, errNotFound, left)
}

func (a *app) show(cmd *cobra.Command, ref string, values bool) error {
	store, _, _, err := a.store(cmd.Context())
	if err != nil {
		return err
	}
	return find(cmd.Context(), store, []string{ref}, func(i dynasession.Info) error {
		s := shown(i)
		if values {
			s.Values = map[string]any{}
			for _, key := range i.Keys() {
				var v any
				if err := i.Decode(key, &v); err != nil {
					return err
				}
				s.Values[key] = v
			}
		}
		if a.output != "table" {
			out := newPrinter[session](cmd, a.output)
			defer out.close()
			return out.print(s)
		}
		names, cells := s.columns(), s.cells()
		for n := range names {
			cmd.Printf("%-10s %s\n", names[n], cells[n])
		}
		for _, key := range i.Keys() {
			if values {
				text, _ := json.Marshal(s.Values[key])
				cmd.Printf("%-10s %s\n", key, text)
			}
		}
		return nil
	})
}

func (a *app) end(cmd *cobra.Command, refs []string) error {
	store, _, _, err := a.store(cmd.Context())
	if err != nil {
		return err
	}
	n := 0
	err = find(cmd.Context(), store, refs, func(i dynasession.Info) error {
		if err := store.End(cmd.Context(), i); err != nil {
			return err
		}
		n++
		return nil
	})
	cmd.PrintErrf("ended %d session(s)\n", n)
	return err
}

func (a *app) usersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "users", Short: "List and end the sessions of a user"}
	ls := &cobra.Command{
		Use: "ls USER", Short: "List a user's sessions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.list(cmd, args[0], 0) },
	}
	var keep string
	end := &cobra.Command{
		Use: "end USER", Short: "Sign a user out everywhere", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.confirm(cmd, "Sign "+args[0]+" out everywhere"); err != nil {
				return err
			}
			store, _, _, err := a.store(cmd.Context())
			if err != nil {
				return err
			}
			n, err := store.DestroyUser(cmd.Context(), args[0], func(i dynasession.Info) bool { return keep != "" && i.Ref == keep })
			cmd.PrintErrf("ended %d session(s)\n", n)
			return err
		},
	}
	end.Flags().StringVar(&keep, "keep", "", "the ref of a session to keep")
	cmd.AddCommand(ls, end)
	return cmd
}
