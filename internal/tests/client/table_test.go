package client_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestCreateTableWhileDeleting: the old table's end is waited for, and the table made.
func TestCreateTableWhileDeleting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		s, err := dynasession.New(b.Client, dynasession.Config{})
		require.NoError(t, err)
		described := 0
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			switch {
			case c.Operation == "CreateTable" && described == 0:
				return stage.AnswerWith(http.StatusBadRequest, "ResourceInUseException"), nil
			case c.Operation == "DescribeTable" && described < 3:
				described++
				return tableOf("DELETING"), nil
			}
			return c.Send()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.NoError(t, s.CreateTable(ctx))
	})
}

// TestCreateTableInAStateThatStays checks that Open's error names a status that does not change.
func TestCreateTableInAStateThatStays(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{})
	b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
		if c.Operation == "DescribeTable" {
			return tableOf("INACCESSIBLE_ENCRYPTION_CREDENTIALS"), nil
		}
		return c.Send()
	})
	err := s.CreateTable(t.Context())
	require.ErrorIs(t, err, dynasession.ErrTable)
	assert.ErrorContains(t, err, "INACCESSIBLE_ENCRYPTION_CREDENTIALS")
}

func tableOf(status string) *http.Response {
	r := stage.AnswerWith(http.StatusOK, "")
	r.Body = io.NopCloser(strings.NewReader(`{"Table":{"TableName":"sessions","TableStatus":"` + status + `",
		"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]}}`))
	return r
}

// TestCreateTableTwiceAtOnce: two servers that start together.
func TestCreateTableTwiceAtOnce(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		s, err := dynasession.New(b.Client, dynasession.Config{Table: stage.NewTable()})
		require.NoError(t, err)
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if c.Operation == "UpdateTimeToLive" {
				b.Calls.Intercept(nil)
				assert.NoError(t, s.CreateTable(t.Context()))
			}
			return c.Send()
		})
		assert.NoError(t, s.CreateTable(t.Context()))
	})
}

// TestWrongTableIsTold: a read, a put and an index are refused in other words each.
func TestWrongTableIsTold(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for name, tc := range map[string]struct {
			key      string
			is, user types.ScalarAttributeType
		}{
			"another key":     {"pk", types.ScalarAttributeTypeS, types.ScalarAttributeTypeS},
			"a number":        {"id", types.ScalarAttributeTypeN, types.ScalarAttributeTypeS},
			"index of number": {"id", types.ScalarAttributeTypeS, types.ScalarAttributeTypeN},
		} {
			t.Run(name, func(t *testing.T) {
				table := stage.NewTable()
				_, err := b.Client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
					TableName: &table, BillingMode: types.BillingModePayPerRequest,
					KeySchema: []types.KeySchemaElement{{AttributeName: &tc.key, KeyType: types.KeyTypeHash}},
					AttributeDefinitions: []types.AttributeDefinition{
						{AttributeName: &tc.key, AttributeType: tc.is}, {AttributeName: aws.String("user"), AttributeType: tc.user},
					},
					GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
						IndexName: aws.String("by-user"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
						KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("user"), KeyType: types.KeyTypeHash}},
					}},
				})
				require.NoError(t, err)
				var failed error
				s, err := dynasession.New(b.Client, dynasession.Config{
					Table: table, UserIndex: "by-user", Logger: stage.Output.Logger(), Observer: func(_ context.Context, e dynasession.Event) { failed = e.Err },
				})
				require.NoError(t, err)
				stage.NewBrowser(t, s.Middleware(stage.App{"/": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("alice") }})).Get("/")
				assert.ErrorIs(t, failed, dynasession.ErrTable)
			})
		}
	})
}
