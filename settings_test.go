package dynasession_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// TestHashesOpenNothing: a store with plain ids does not open the sessions of one of the same name that
// hashes its ids, by the hashes that the table shows.
func TestHashesOpenNothing(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{})
		sc.ok("/login?alice")
		hash := strings.TrimPrefix(attr(sc.item(), "id"), "session_")
		plain := newStore(t, b, dynasession.Config{Table: sc.table, InsecurePlainIDs: true})
		for _, id := range []string{hash, strings.ToUpper(hash)} {
			assert.Equal(t, "none", bearing(t, plain.Middleware(sc.paths), id).ok("/read"))
			_, err := plain.Read(t.Context(), id)
			require.ErrorIs(t, err, dynasession.ErrInvalidID)
			require.ErrorIs(t, plain.Write(t.Context(), id, nil), dynasession.ErrInvalidID)
		}
		php := newStore(t, b, dynasession.Config{Name: "php", InsecurePlainIDs: true, ForeignWriters: true})
		require.NoError(t, php.Write(t.Context(), hash, []byte(`{}`)), "PHP may make such ids")
	})
}

func TestNamesThatPHPWouldCut(t *testing.T) {
	for _, name := range []string{"_admin", "__x", "_"} {
		_, err := dynasession.New(embedded(t).client, dynasession.Config{Name: name})
		require.ErrorContains(t, err, "Config.Name", name)
	}
	_, err := dynasession.New(embedded(t).client, dynasession.Config{Name: "ad_min_"})
	require.NoError(t, err)
}

func TestAttributesThatAreRefused(t *testing.T) {
	for _, name := range []string{"moved", "\xff", "a\xc3", "rev"} {
		for field, a := range map[string]dynasession.Attributes{"ID": {ID: name}, "Expires": {Expires: name}, "Data": {Data: name}, "User": {User: name}} {
			_, err := dynasession.New(embedded(t).client, dynasession.Config{Attributes: a})
			require.ErrorContains(t, err, "Config.Attributes."+field, "%q", name)
		}
	}
	_, err := dynasession.New(embedded(t).client, dynasession.Config{Attributes: dynasession.Attributes{Data: "Daten für später"}})
	require.NoError(t, err)
}

func TestClientWithoutRegion(t *testing.T) {
	for _, client := range []*dynamodb.Client{dynamodb.New(dynamodb.Options{}), dynasession.NewClient(aws.Config{})} {
		_, err := dynasession.New(client, dynasession.Config{})
		require.ErrorContains(t, err, "region")
		require.ErrorContains(t, err, "AWS_REGION")
	}
}

// TestCredentials: what AWS says of credentials is no outage, and the log names it.
func TestCredentials(t *testing.T) {
	refused := func(code string) func(*call) (*http.Response, error) {
		return func(*call) (*http.Response, error) { return answerWith(http.StatusBadRequest, code), nil }
	}
	for _, code := range []string{
		"ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException", "AccessDeniedException",
	} {
		for _, policy := range policies {
			var lines strings.Builder
			b := embedded(t)
			sc := newScene(t, b, dynasession.Config{Concurrency: policy, UserIndex: "by-user", Logger: slog.New(slog.NewTextHandler(&lines, nil))})
			b.calls.intercept(refused(code))
			w := sc.get("/set?x")
			sc.failed(w, http.StatusServiceUnavailable, dynasession.ErrCredentials)
			assert.NotEmpty(t, w.Header().Get("Retry-After"))
			assert.Contains(t, lines.String(), code)
			for name, err := range map[string]error{
				"Open": sc.store.Open(t.Context()), "CreateTable": sc.store.CreateTable(t.Context()), "Destroy": sc.store.Destroy(t.Context(), sc.id()),
				"Write": sc.store.Write(t.Context(), sc.id(), nil), "UpdateTimestamp": sc.store.UpdateTimestamp(t.Context(), sc.id()),
			} {
				require.ErrorIs(t, err, dynasession.ErrCredentials, name)
				assert.NotErrorIs(t, err, dynasession.ErrUnavailable, name)
			}
			_, err := sc.store.UserSessions(t.Context(), "alice")
			require.ErrorIs(t, err, dynasession.ErrCredentials)
			b.calls.intercept(nil)
			assert.Equal(t, "n token", sc.ok("/read"))
		}
	}
	none := dynamodb.New(embedded(t).client.Options(), func(o *dynamodb.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("no EC2 IMDS role found")
		})
	})
	s, err := dynasession.New(none, dynasession.Config{})
	require.NoError(t, err)
	_, err = s.Read(t.Context(), s.CreateID())
	require.ErrorIs(t, err, dynasession.ErrCredentials)
	require.ErrorContains(t, err, "no EC2 IMDS role found")
	require.ErrorIs(t, s.Open(t.Context()), dynasession.ErrCredentials)

	synctest.Test(t, func(t *testing.T) { // a metadata service that does not answer
		slow := dynamodb.New(embedded(t).client.Options(), func(o *dynamodb.Options) {
			o.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				<-ctx.Done()
				return aws.Credentials{}, ctx.Err()
			})
		})
		s, err := dynasession.New(slow, dynasession.Config{})
		require.NoError(t, err)
		_, err = s.Read(t.Context(), s.CreateID())
		// The SDK's own retryer hides what it has waited for.
		want, other := dynasession.ErrUnavailable, dynasession.ErrCredentials
		if *withNewClient {
			want, other = other, want
		}
		require.ErrorIs(t, err, want)
		assert.NotErrorIs(t, err, other)
	})
}

func TestMissingTableNamesTheRegion(t *testing.T) {
	b := embedded(t)
	s, err := dynasession.New(b.client, dynasession.Config{Table: "none-such"})
	require.NoError(t, err)
	region := b.client.Options().Region
	require.ErrorContains(t, s.Open(t.Context()), "the region "+region)
	_, err = s.Read(t.Context(), s.CreateID())
	require.ErrorIs(t, err, dynasession.ErrTable)
	require.ErrorContains(t, err, "the region "+region)
}

// TestMisspeltVariables: a variable that is no setting would be ignored.
func TestMisspeltVariables(t *testing.T) {
	for name, nearest := range map[string]string{
		"DYNASESSION_IDLETIMEOUT": "DYNASESSION_IDLE_TIMEOUT", "DYNASESSION_ENCRYPTION_KEY": "DYNASESSION_ENCRYPTION_KEYS",
		"DYNASESSION_COOKIE_INSECUR": "DYNASESSION_COOKIE_INSECURE", "DYNASESSION_TABEL": "DYNASESSION_TABLE",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "hunter2")
			_, err := dynasession.ConfigFromEnv()
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, "the nearest is "+nearest)
			assert.NotContains(t, err.Error(), "hunter2", "it may be a secret")
			_, err = dynasession.FromEnv(t.Context())
			require.ErrorContains(t, err, name)
		})
	}
	t.Setenv("DYNASESSIONS", "1")
	t.Setenv("DYNASESSION_TIMEOUT", "3s")
	_, err := dynasession.ConfigFromEnv()
	require.NoError(t, err)
}

// TestWrongKeys: the text says what is wrong with the table's key, and advises what helps.
func TestWrongKeys(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for name, test := range map[string]struct {
			key  string
			kind types.ScalarAttributeType
			want string
		}{
			"another type": {"id", types.ScalarAttributeTypeN, `HASH "id" of type N, not the one hash key "id" of type S: a key cannot be changed`},
			"another name": {"pk", types.ScalarAttributeTypeS, `set Config.Attributes.ID to "pk"`},
		} {
			table := newTable()
			_, err := b.client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
				TableName: &table, BillingMode: types.BillingModePayPerRequest,
				KeySchema:            []types.KeySchemaElement{{AttributeName: &test.key, KeyType: types.KeyTypeHash}},
				AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &test.key, AttributeType: test.kind}},
			})
			require.NoError(t, err)
			s, err := dynasession.New(b.client, dynasession.Config{Table: table})
			require.NoError(t, err)
			require.ErrorContains(t, s.Open(t.Context()), test.want, name)
		}
	})
}

// TestStoreInALog shows the table and the name in every handler.
func TestStoreInALog(t *testing.T) {
	s, err := dynasession.New(embedded(t).client, dynasession.Config{Table: "tea-shop", EncryptionKeys: [][]byte{bytes.Repeat([]byte("k"), 32)}})
	require.NoError(t, err)
	var lines bytes.Buffer
	slog.New(slog.NewJSONHandler(&lines, nil)).Info("x", "store", s)
	slog.New(slog.NewTextHandler(&lines, nil)).Info("x", "store", s)
	assert.Equal(t, 2, strings.Count(lines.String(), "tea-shop"), lines.String())
	assert.NotContains(t, lines.String()+fmt.Sprintf("%+v %#v", s, s), "kkkk")
}
