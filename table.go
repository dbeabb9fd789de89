package dynasession

import (
	"context"
	"errors"
	"fmt"

	"github.com/dynasession/dynasession/internal/schema"
)

// CreateTable creates the table: with on-demand billing, deletion protection, TTL on the expiry attribute and, if
// Config.UserIndex names one, the user index, which projects only keys. It waits until the table is active, or ctx
// ends. If the table is there already and right, CreateTable does nothing; if only its TTL is off, it turns that on.
// A wrong table is [ErrTable].
//
// It needs the permissions dynamodb:CreateTable, DescribeTable, UpdateTimeToLive and DescribeTimeToLive. The running
// application does not need them all: see Open.
func (s *Store) CreateTable(ctx context.Context) error {
	t := s.schema()
	for _, step := range []func(context.Context) error{t.Create, t.Await, t.EnableTTL} {
		if err := step(ctx); err != nil {
			return explain(err)
		}
	}
	return s.Open(ctx)
}

// Open checks whether the table is as Config says: it exists and is active, it has the right key, TTL on the right
// attribute and, if one is configured, the user index. Its [ErrTable] names everything that is wrong and says what to
// do. Call it at start-up; the middleware works without it. It needs the permissions dynamodb:DescribeTable and
// DescribeTimeToLive.
func (s *Store) Open(ctx context.Context) error {
	faults, err := s.schema().Faults(ctx)
	if err != nil {
		return explain(err)
	}
	var wrong []error
	for _, fault := range faults {
		wrong = append(wrong, fmt.Errorf("%w: table %q: %s", ErrTable, s.cfg.Table, fault))
	}
	return errors.Join(wrong...)
}

func (s *Store) schema() *schema.Table {
	a := &s.cfg.Attributes
	return &schema.Table{
		Client: s.client, Timeout: max(s.cfg.Timeout, DefaultTimeout), Name: s.cfg.Table,
		ID: a.ID, Expires: a.Expires, Index: s.cfg.UserIndex, User: a.User,
	}
}
