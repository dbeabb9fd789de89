package dynasession

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
)

// endpoints remembers where DynamoDB is. The SDK works it out anew for each attempt, by rules
// over the same few parameters: a twelfth of a read's CPU time.
type endpoints struct {
	sdk  dynamodb.EndpointResolverV2
	last atomic.Pointer[resolved]
}

type resolved struct {
	params   dynamodb.EndpointParameters
	endpoint smithyendpoints.Endpoint
}

// knownParams is what the SDK's rules depend on, as far as same knows.
const knownParams = "{Region:<nil> UseDualStack:<nil> UseFIPS:<nil> Endpoint:<nil> AccountId:<nil> " +
	"AccountIdEndpointMode:<nil> ResourceArn:<nil> ResourceArnList:[] IsSearchOperation:<nil>}"

// remembered wraps the SDK's own resolver. One of the user's may answer anew each time, and a
// later SDK's may ask for more: they stay as they are.
func remembered(r dynamodb.EndpointResolverV2) dynamodb.EndpointResolverV2 {
	own := fmt.Sprintf("%T", r) == fmt.Sprintf("%T", dynamodb.NewDefaultEndpointResolverV2())
	if !own || fmt.Sprintf("%+v", dynamodb.EndpointParameters{}) != knownParams {
		return r
	}
	return &endpoints{sdk: r}
}

func (e *endpoints) ResolveEndpoint(ctx context.Context, params dynamodb.EndpointParameters) (smithyendpoints.Endpoint, error) {
	if last := e.last.Load(); last != nil && same(&last.params, &params) {
		return last.endpoint, nil // the SDK only reads what it refers to
	}
	endpoint, err := e.sdk.ResolveEndpoint(ctx, params)
	if err == nil && params.ResourceArnList == nil {
		e.last.Store(&resolved{copied(params), endpoint})
	}
	return endpoint, err
}

// copied keeps what the parameters are now: BaseEndpoint points to a string of the user's.
func copied(p dynamodb.EndpointParameters) dynamodb.EndpointParameters {
	return dynamodb.EndpointParameters{
		Region: copyOf(p.Region), Endpoint: copyOf(p.Endpoint), ResourceArn: copyOf(p.ResourceArn),
		AccountId: copyOf(p.AccountId), AccountIdEndpointMode: copyOf(p.AccountIdEndpointMode),
		UseDualStack: copyOf(p.UseDualStack), UseFIPS: copyOf(p.UseFIPS), IsSearchOperation: copyOf(p.IsSearchOperation),
	}
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func same(a, b *dynamodb.EndpointParameters) bool {
	return a.ResourceArnList == nil && b.ResourceArnList == nil &&
		equal(a.Region, b.Region) && equal(a.Endpoint, b.Endpoint) && equal(a.ResourceArn, b.ResourceArn) &&
		equal(a.AccountId, b.AccountId) && equal(a.AccountIdEndpointMode, b.AccountIdEndpointMode) &&
		equal(a.UseDualStack, b.UseDualStack) && equal(a.UseFIPS, b.UseFIPS) && equal(a.IsSearchOperation, b.IsSearchOperation)
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
