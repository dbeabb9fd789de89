// Package schema says what the table must look like. It creates the table, and finds what is wrong with one.
package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
	"github.com/dynasession/dynasession/internal/wire"
)

// A Table is a table as it must be. The errors of its methods are [*protocol.Error], or those of a context.
type Table struct {
	Client  *dynamodb.Client
	Timeout time.Duration // of each call
	Name    string
	ID      string // the attribute of the hash key
	Expires string // the attribute of TTL
	Index   string // the user index; "" for none
	User    string // the attribute of the index's hash key
}

// Create creates the table. It does not wait until the table is active. It is no error if the table exists.
func (t *Table) Create(ctx context.Context) error {
	protect := true
	in := &dynamodb.CreateTableInput{
		TableName:                 &t.Name,
		BillingMode:               types.BillingModePayPerRequest,
		DeletionProtectionEnabled: &protect,
		KeySchema:                 hashKey(&t.ID),
		AttributeDefinitions:      []types.AttributeDefinition{{AttributeName: &t.ID, AttributeType: types.ScalarAttributeTypeS}},
	}
	if t.Index != "" {
		in.AttributeDefinitions = append(in.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: &t.User, AttributeType: types.ScalarAttributeTypeS})
		in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{{
			IndexName: &t.Index,
			KeySchema: hashKey(&t.User),
			// With keys only, saving and touching a session does not write the index.
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}}
	}
	_, err := call(ctx, t, "CreateTable", t.Client.CreateTable, in)
	if inUse := (*types.ResourceInUseException)(nil); errors.As(err, &inUse) {
		return nil
	}
	return err
}

func hashKey(name *string) []types.KeySchemaElement {
	return []types.KeySchemaElement{{AttributeName: name, KeyType: types.KeyTypeHash}}
}

// Await waits until the status of the table no longer changes. If the table was being deleted, Await creates it again.
func (t *Table) Await(ctx context.Context) error {
	deleting := false
	for poll := (pause.Poll{}); ; {
		table, err := t.describe(ctx)
		switch {
		case err != nil && !isMissing(err): // a new table may not show at once
			return err
		case err != nil && deleting:
			if err := t.Create(ctx); err != nil {
				return err
			}
			deleting = false
		case err != nil, table.TableStatus == types.TableStatusCreating, table.TableStatus == types.TableStatusUpdating:
		case table.TableStatus == types.TableStatusDeleting:
			deleting = true
		default: // Faults reports a status other than ACTIVE
			return nil
		}
		if err := poll.Wait(ctx); err != nil {
			return fmt.Errorf("dynasession: waiting for table %q: %w", t.Name, err)
		}
	}
}

func isMissing(err error) bool {
	var e *protocol.Error
	return errors.As(err, &e) && e.Kind == protocol.NoTable
}

func (t *Table) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := call(ctx, t, "DescribeTable", t.Client.DescribeTable, &dynamodb.DescribeTableInput{TableName: &t.Name})
	switch {
	case err != nil:
		return nil, err
	case out.Table == nil:
		return nil, protocol.Explain("DescribeTable", t.Name, t.Client.Options().Region, &wire.Error{What: "has no table"})
	}
	return out.Table, nil
}

func (t *Table) describeTTL(ctx context.Context) (attribute string, on bool, err error) {
	out, err := call(ctx, t, "DescribeTimeToLive", t.Client.DescribeTimeToLive, &dynamodb.DescribeTimeToLiveInput{TableName: &t.Name})
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

// EnableTTL turns TTL on, if it is off.
func (t *Table) EnableTTL(ctx context.Context) error {
	if _, on, err := t.describeTTL(ctx); err != nil || on {
		return err // Faults reports another attribute
	}
	enabled := true
	_, err := call(ctx, t, "UpdateTimeToLive", t.Client.UpdateTimeToLive, &dynamodb.UpdateTimeToLiveInput{
		TableName:               &t.Name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &t.Expires, Enabled: &enabled},
	})
	if err != nil { // another server that starts at the same time may have been first
		if _, on, again := t.describeTTL(ctx); again == nil && on {
			return nil
		}
	}
	return err
}

// call makes one call about the table. Each has a time limit, since the context of a program that starts has none.
func call[I, O any](ctx context.Context, t *Table, name string, f func(context.Context, *I, ...func(*dynamodb.Options)) (*O, error), in *I) (*O, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	out, err := f(ctx, in)
	if err != nil {
		return nil, protocol.Explain(name, t.Name, t.Client.Options().Region, err)
	}
	return out, nil
}

// Faults returns what is wrong with the table, each with what to do about it.
func (t *Table) Faults(ctx context.Context) (faults []string, err error) {
	table, err := t.describe(ctx)
	if err != nil {
		return nil, err
	}
	attribute, on, err := t.describeTTL(ctx)
	if err != nil {
		return nil, err
	}
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	switch table.TableStatus {
	case types.TableStatusActive, types.TableStatusUpdating:
	default:
		fault("its status is %s, and must be ACTIVE", table.TableStatus)
	}
	if !keyIs(table.KeySchema, table.AttributeDefinitions, t.ID) {
		fault("its key is %s, not the one hash key %q of type S: %s make another table with Store.CreateTable",
			keyText(table.KeySchema, table.AttributeDefinitions), t.ID, renaming(table.KeySchema, table.AttributeDefinitions, "Config.Attributes.ID"))
	}
	switch {
	case !on:
		fault("TTL is off, so that nothing deletes expired sessions: turn it on for the attribute %q, by UpdateTimeToLive or Store.CreateTable", t.Expires)
	case attribute != t.Expires:
		fault("TTL is on the attribute %q, not on %q: set Config.Attributes.Expires, or turn TTL off and on again", attribute, t.Expires)
	}
	if t.Index != "" {
		t.checkIndex(table, fault)
	}
	return faults, nil
}

func (t *Table) checkIndex(table *types.TableDescription, fault func(string, ...any)) {
	for _, index := range table.GlobalSecondaryIndexes {
		if index.IndexName == nil || *index.IndexName != t.Index {
			continue
		}
		if !keyIs(index.KeySchema, table.AttributeDefinitions, t.User) {
			fault("the key of index %q is %s, not the one hash key %q of type S: %s make another index",
				t.Index, keyText(index.KeySchema, table.AttributeDefinitions), t.User, renaming(index.KeySchema, table.AttributeDefinitions, "Config.Attributes.User"))
		}
		if index.IndexStatus != types.IndexStatusActive && index.IndexStatus != types.IndexStatusUpdating {
			fault("the status of index %q is %s, and must be ACTIVE", t.Index, index.IndexStatus)
		}
		return
	}
	fault("it has no global secondary index %q: add one with the hash key %q of type S and keys only, or leave Config.UserIndex empty", t.Index, t.User)
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

// renaming returns the advice to set a field of Config to the name of the key, if only the name is wrong.
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
