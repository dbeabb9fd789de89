package dynasession

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
	"github.com/dynasession/dynasession/internal/wire"
)

// CreateTable creates the table: with on-demand billing, deletion protection, TTL on the expiry attribute and, if
// Config.UserIndex names one, the user index, which projects only keys. It waits until the table is active, or ctx
// ends. If the table is there already and right, CreateTable does nothing; if only its TTL is off, it turns that on.
// A wrong table is [ErrTable].
//
// It needs the permissions dynamodb:CreateTable, DescribeTable, UpdateTimeToLive and DescribeTimeToLive. The running
// application does not need them all: see Open.
func (s *Store) CreateTable(ctx context.Context) error {
	if err := s.makeTable(ctx); err != nil {
		return err
	}
	if err := s.awaitTable(ctx); err != nil {
		return err
	}
	if err := s.enableTTL(ctx); err != nil {
		return err
	}
	return s.Open(ctx)
}

// makeTable asks for the table. It is no error if the table is there.
func (s *Store) makeTable(ctx context.Context) error {
	_, err := callTable(ctx, s, "CreateTable", s.client.CreateTable, s.tableInput())
	if inUse := (*types.ResourceInUseException)(nil); errors.As(err, &inUse) {
		return nil
	}
	return err
}

// awaitTable waits until the table is no longer changing its status. If the table was being deleted, it is created
// again.
func (s *Store) awaitTable(ctx context.Context) error {
	deleting := false
	for poll := (pause.Poll{}); ; {
		table, err := s.describe(ctx)
		switch {
		case err != nil && !errors.Is(err, ErrTable): // a new table may not show at once
			return err
		case err != nil && deleting:
			if err := s.makeTable(ctx); err != nil {
				return err
			}
			deleting = false
		case err != nil, table.TableStatus == types.TableStatusCreating, table.TableStatus == types.TableStatusUpdating:
		case table.TableStatus == types.TableStatusDeleting:
			deleting = true
		default: // Open tells if it is not ACTIVE
			return nil
		}
		if err := poll.Wait(ctx); err != nil {
			return fmt.Errorf("dynasession: waiting for table %q: %w", s.cfg.Table, err)
		}
	}
}

func (s *Store) tableInput() *dynamodb.CreateTableInput {
	protect := true
	a := &s.cfg.Attributes
	in := &dynamodb.CreateTableInput{
		TableName:                 &s.cfg.Table,
		BillingMode:               types.BillingModePayPerRequest,
		DeletionProtectionEnabled: &protect,
		KeySchema:                 hashKey(&a.ID),
		AttributeDefinitions:      []types.AttributeDefinition{{AttributeName: &a.ID, AttributeType: types.ScalarAttributeTypeS}},
	}
	if s.cfg.UserIndex != "" {
		in.AttributeDefinitions = append(in.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: &a.User, AttributeType: types.ScalarAttributeTypeS})
		in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{{
			IndexName: &s.cfg.UserIndex,
			KeySchema: hashKey(&a.User),
			// With keys only, saving and touching a session does not write the index.
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}}
	}
	return in
}

func hashKey(name *string) []types.KeySchemaElement {
	return []types.KeySchemaElement{{AttributeName: name, KeyType: types.KeyTypeHash}}
}

func (s *Store) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := callTable(ctx, s, "DescribeTable", s.client.DescribeTable, &dynamodb.DescribeTableInput{TableName: &s.cfg.Table})
	switch {
	case err != nil:
		return nil, err
	case out.Table == nil:
		return nil, unavailable("DescribeTable", &wire.Error{What: "has no table"})
	}
	return out.Table, nil
}

func (s *Store) describeTTL(ctx context.Context) (attribute string, on bool, err error) {
	out, err := callTable(ctx, s, "DescribeTimeToLive", s.client.DescribeTimeToLive, &dynamodb.DescribeTimeToLiveInput{TableName: &s.cfg.Table})
	if err != nil {
		return "", false, err
	}
	ttl := out.TimeToLiveDescription
	if ttl == nil || ttl.AttributeName == nil {
		return "", false, nil
	}
	on = ttl.TimeToLiveStatus == types.TimeToLiveStatusEnabled || ttl.TimeToLiveStatus == types.TimeToLiveStatusEnabling
	return *ttl.AttributeName, on, nil
}

func (s *Store) enableTTL(ctx context.Context) error {
	if _, on, err := s.describeTTL(ctx); err != nil || on {
		return err // Open tells if it is on another attribute
	}
	enabled := true
	_, err := callTable(ctx, s, "UpdateTimeToLive", s.client.UpdateTimeToLive, &dynamodb.UpdateTimeToLiveInput{
		TableName: &s.cfg.Table,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{
			AttributeName: &s.cfg.Attributes.Expires, Enabled: &enabled,
		},
	})
	if err != nil { // another server, starting too, may have been first
		if _, on, again := s.describeTTL(ctx); again == nil && on {
			return nil
		}
	}
	return err
}

// callTable makes one call about the table. Each call has a time limit, since a program that starts has none.
func callTable[I, O any](ctx context.Context, s *Store, name string, call func(context.Context, *I, ...func(*dynamodb.Options)) (*O, error), in *I) (*O, error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.cfg.Timeout, DefaultTimeout))
	defer cancel()
	out, err := call(ctx, in)
	if err != nil {
		return nil, explain(protocol.Explain(name, s.cfg.Table, s.client.Options().Region, err))
	}
	return out, nil
}

// Open checks whether the table is as Config says: it exists and is active, it has the right key, TTL on the right
// attribute and, if one is configured, the user index. Its [ErrTable] names everything that is wrong and says what to
// do. Call it at start-up; the middleware works without it. It needs the permissions dynamodb:DescribeTable and
// DescribeTimeToLive.
func (s *Store) Open(ctx context.Context) error {
	table, err := s.describe(ctx)
	if err != nil {
		return err
	}
	attribute, on, err := s.describeTTL(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	fault := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%w: table %q: %s", ErrTable, s.cfg.Table, fmt.Sprintf(format, args...)))
	}
	a := &s.cfg.Attributes
	switch table.TableStatus {
	case types.TableStatusActive, types.TableStatusUpdating:
	default:
		fault("its status is %s, and must be ACTIVE", table.TableStatus)
	}
	if !keyIs(table.KeySchema, table.AttributeDefinitions, a.ID) {
		fault("its key is %s, not the one hash key %q of type S: %s make another table with Store.CreateTable",
			keyText(table.KeySchema, table.AttributeDefinitions), a.ID, renaming(table.KeySchema, table.AttributeDefinitions, "Config.Attributes.ID"))
	}
	switch {
	case !on:
		fault("TTL is off, so that nothing deletes expired sessions: turn it on for the attribute %q, by UpdateTimeToLive or Store.CreateTable", a.Expires)
	case attribute != a.Expires:
		fault("TTL is on the attribute %q, not on %q: set Config.Attributes.Expires, or turn TTL off and on again", attribute, a.Expires)
	}
	if s.cfg.UserIndex != "" {
		s.checkIndex(table, fault)
	}
	return errors.Join(wrong...)
}

func (s *Store) checkIndex(table *types.TableDescription, fault func(string, ...any)) {
	user := s.cfg.Attributes.User
	for _, index := range table.GlobalSecondaryIndexes {
		if index.IndexName == nil || *index.IndexName != s.cfg.UserIndex {
			continue
		}
		if !keyIs(index.KeySchema, table.AttributeDefinitions, user) {
			fault("the key of index %q is %s, not the one hash key %q of type S: %s make another index",
				s.cfg.UserIndex, keyText(index.KeySchema, table.AttributeDefinitions), user, renaming(index.KeySchema, table.AttributeDefinitions, "Config.Attributes.User"))
		}
		if index.IndexStatus != types.IndexStatusActive && index.IndexStatus != types.IndexStatusUpdating {
			fault("the status of index %q is %s, and must be ACTIVE", s.cfg.UserIndex, index.IndexStatus)
		}
		return
	}
	fault("it has no global secondary index %q: add one with the hash key %q of type S and keys only, or leave Config.UserIndex empty", s.cfg.UserIndex, user)
}

func keyIs(schema []types.KeySchemaElement, attributes []types.AttributeDefinition, name string) bool {
	return len(schema) == 1 && schema[0].AttributeName != nil && *schema[0].AttributeName == name &&
		typeOf(name, attributes) == types.ScalarAttributeTypeS
}

func typeOf(name string, attributes []types.AttributeDefinition) types.ScalarAttributeType {
	for _, a := range attributes {
		if a.AttributeName != nil && *a.AttributeName == name {
			return a.AttributeType
		}
	}
	return ""
}

// renaming returns the advice to set a field to the name of the key, if that is all that is wrong.
func renaming(schema []types.KeySchemaElement, attributes []types.AttributeDefinition, field string) string {
	if len(schema) == 1 && schema[0].AttributeName != nil && keyIs(schema, attributes, *schema[0].AttributeName) {
		return fmt.Sprintf("set %s to %q, or", field, *schema[0].AttributeName)
	}
	return "a key cannot be changed, so"
}

func keyText(schema []types.KeySchemaElement, attributes []types.AttributeDefinition) string {
	text := ""
	for _, k := range schema {
		if k.AttributeName != nil {
			text += fmt.Sprintf("%s %q of type %s ", k.KeyType, *k.AttributeName, cmp.Or(typeOf(*k.AttributeName, attributes), "unknown"))
		}
	}
	if text == "" {
		return "unknown"
	}
	return text[:len(text)-1]
}
