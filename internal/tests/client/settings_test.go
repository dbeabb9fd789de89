package client_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestClientWithoutRegion(t *testing.T) {
	for _, client := range []*dynamodb.Client{dynamodb.New(dynamodb.Options{}), dynasession.NewClient(aws.Config{})} {
		_, err := dynasession.New(client, dynasession.Config{})
		require.ErrorContains(t, err, "region")
		require.ErrorContains(t, err, "AWS_REGION")
	}
}

// TestCredentials: what AWS says of credentials is no outage, and the log names it.
func TestCredentials(t *testing.T) {
	refused := func(code string) func(*stage.Call) (*http.Response, error) {
		return func(*stage.Call) (*http.Response, error) { return stage.AnswerWith(http.StatusBadRequest, code), nil }
	}
	for _, code := range []string{
		"ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException", "AccessDeniedException",
	} {
		for _, policy := range stage.Policies {
			var lines strings.Builder
			b := stage.Embedded(t)
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy, UserIndex: "by-user", Logger: slog.New(slog.NewTextHandler(&lines, nil))})
			b.Calls.Intercept(refused(code))
			w := sc.Get("/set?x")
			sc.Failed(w, http.StatusServiceUnavailable, dynasession.ErrCredentials)
			assert.NotEmpty(t, w.Header().Get("Retry-After"))
			assert.Contains(t, lines.String(), code)
			for name, err := range map[string]error{
				"Open": sc.Store.Open(t.Context()), "CreateTable": sc.Store.CreateTable(t.Context()), "Destroy": sc.Store.Destroy(t.Context(), sc.ID()),
				"Write": sc.Store.Write(t.Context(), sc.ID(), nil), "UpdateTimestamp": sc.Store.UpdateTimestamp(t.Context(), sc.ID()),
			} {
				require.ErrorIs(t, err, dynasession.ErrCredentials, name)
				assert.NotErrorIs(t, err, dynasession.ErrUnavailable, name)
			}
			_, err := sc.Store.UserSessions(t.Context(), "alice")
			require.ErrorIs(t, err, dynasession.ErrCredentials)
			b.Calls.Intercept(nil)
			assert.Equal(t, "n token", sc.OK("/read"))
		}
	}
	none := dynamodb.New(stage.Embedded(t).Client.Options(), func(o *dynamodb.Options) {
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
		slow := dynamodb.New(stage.Embedded(t).Client.Options(), func(o *dynamodb.Options) {
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
		if *stage.WithNewClient {
			want, other = other, want
		}
		require.ErrorIs(t, err, want)
		assert.NotErrorIs(t, err, other)
	})
}

func TestMissingTableNamesTheRegion(t *testing.T) {
	b := stage.Embedded(t)
	s, err := dynasession.New(b.Client, dynasession.Config{Table: "none-such"})
	require.NoError(t, err)
	region := b.Client.Options().Region
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
