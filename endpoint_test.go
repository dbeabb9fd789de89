package dynasession_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// endpointParams are alike but for one of them each.
func endpointParams() []dynamodb.EndpointParameters {
	with := func(set func(*dynamodb.EndpointParameters)) dynamodb.EndpointParameters {
		p := dynamodb.EndpointParameters{
			Region: aws.String("eu-west-1"), UseDualStack: aws.Bool(false), UseFIPS: aws.Bool(false),
			AccountId: aws.String("111111111111"), AccountIdEndpointMode: aws.String("preferred"), ResourceArn: aws.String("sessions"),
		}
		set(&p)
		return p
	}
	return []dynamodb.EndpointParameters{
		with(func(*dynamodb.EndpointParameters) {}),
		with(func(p *dynamodb.EndpointParameters) { p.Region = aws.String("us-west-2") }),
		with(func(p *dynamodb.EndpointParameters) { p.Region = nil }), // an error
		with(func(p *dynamodb.EndpointParameters) { p.UseDualStack = aws.Bool(true) }),
		with(func(p *dynamodb.EndpointParameters) { p.UseFIPS = aws.Bool(true) }),
		with(func(p *dynamodb.EndpointParameters) { p.Endpoint = aws.String("http://localhost:8000") }),
		with(func(p *dynamodb.EndpointParameters) { p.AccountId = aws.String("222222222222") }),
		with(func(p *dynamodb.EndpointParameters) { p.AccountId = nil }),
		with(func(p *dynamodb.EndpointParameters) { p.AccountIdEndpointMode = aws.String("disabled") }),
		with(func(p *dynamodb.EndpointParameters) {
			p.ResourceArn = aws.String("arn:aws:dynamodb:eu-west-1:333333333333:table/sessions")
		}),
		with(func(p *dynamodb.EndpointParameters) {
			p.AccountId, p.ResourceArnList = nil, []string{"arn:aws:dynamodb:eu-west-1:444444444444:table/sessions"}
		}),
		with(func(p *dynamodb.EndpointParameters) {
			p.AccountId, p.ResourceArnList = nil, []string{"arn:aws:dynamodb:eu-west-1:555555555555:table/sessions"}
		}),
		with(func(p *dynamodb.EndpointParameters) { p.IsSearchOperation = aws.Bool(true) }),
	}
}

// TestRememberedEndpoint: whatever came before, the answer is the SDK's. It fails, too, when the
// SDK's rules have come to ask for more than the library knows of: then nothing is remembered.
func TestRememberedEndpoint(t *testing.T) {
	sdk := dynamodb.NewDefaultEndpointResolverV2()
	remembered := dynasession.Remembered(sdk)
	require.NotEqual(t, sdk, remembered, "nothing is remembered with this version of the SDK")

	check := func(t *testing.T, p dynamodb.EndpointParameters) {
		want, wantErr := sdk.ResolveEndpoint(t.Context(), p)
		got, err := remembered.ResolveEndpoint(t.Context(), p)
		assert.Equal(t, wantErr, err)
		assert.Equal(t, want, got)
	}
	params := endpointParams()
	uris := map[string]bool{}
	for _, before := range params {
		for _, after := range params {
			check(t, before)
			check(t, after)
			check(t, after)
		}
		endpoint, _ := sdk.ResolveEndpoint(t.Context(), before)
		uris[endpoint.URI.String()] = true
	}
	assert.Greater(t, len(uris), 8, "the parameters must matter")

	host := "http://one.example"
	mine := dynamodb.EndpointParameters{Region: aws.String("eu-west-1"), Endpoint: &host}
	check(t, mine)
	host = "http://two.example"
	check(t, mine)

	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				check(t, params[(i+n)%len(params)])
			}
		})
	}
	all.Wait()
}

// myEndpoint is a resolver of the user's, which may answer anew each time.
type myEndpoint struct {
	mu    sync.Mutex
	calls int
}

func (m *myEndpoint) ResolveEndpoint(context.Context, dynamodb.EndpointParameters) (smithyendpoints.Endpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	return smithyendpoints.Endpoint{URI: url.URL{Scheme: "http", Host: fmt.Sprintf("answer-%d.example", m.calls)}}, nil
}

// TestUsersEndpointResolver: it is asked for each call.
func TestUsersEndpointResolver(t *testing.T) {
	mine := new(myEndpoint)
	client := dynamodb.New(dynamotest.Start(t).Options(), func(o *dynamodb.Options) { o.EndpointResolverV2 = mine })
	store, err := dynasession.New(client, dynasession.Config{})
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	before := mine.calls
	for range 3 {
		require.NoError(t, store.Destroy(t.Context(), store.CreateID()))
	}
	assert.Equal(t, before+3, mine.calls)
}
