package main

import (
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdaurl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// TestFunctionURL invokes the function as its URL does, each time in another instance.
func TestFunctionURL(t *testing.T) {
	client := dynamotest.Start(t)
	var cookies []string
	for _, want := range []string{"visit 1", "visit 2", "visit 3"} {
		store, err := dynasession.New(client, dynasession.Config{})
		require.NoError(t, err)
		require.NoError(t, store.CreateTable(t.Context()))
		r := &events.LambdaFunctionURLRequest{RawPath: "/", Cookies: cookies, Headers: map[string]string{"x-forwarded-proto": "https", "cookie": strings.Join(cookies, "; ")}}
		r.RequestContext.HTTP.Method = "GET"
		out, err := lambdaurl.Wrap(handler(store))(t.Context(), r)
		require.NoError(t, err)
		body, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		assert.Contains(t, string(body), want)
		for _, c := range out.Cookies {
			pair, _, _ := strings.Cut(c, ";")
			cookies = []string{pair}
		}
	}
}
