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
	params   params
	endpoint smithyendpoints.Endpoint
}

// params are the parameters as they were: the SDK's point to strings that may change, like
// BaseEndpoint's.
type params struct {
	region, endpoint, arn, accountID, accountIDMode param[string]
	dualStack, fips, search                         param[bool]
}

type param[T comparable] struct {
	set   bool
	value T
}

func valueOf[T comparable](p *T) (o param[T]) {
	if p != nil {
		o = param[T]{true, *p}
	}
	return o
}

func paramsOf(p *dynamodb.EndpointParameters) params {
	return params{
		region: valueOf(p.Region), endpoint: valueOf(p.Endpoint), arn: valueOf(p.ResourceArn),
		accountID: valueOf(p.AccountId), accountIDMode: valueOf(p.AccountIdEndpointMode),
		dualStack: valueOf(p.UseDualStack), fips: valueOf(p.UseFIPS), search: valueOf(p.IsSearchOperation),
	}
}

// knownParams is what the SDK's rules depend on, as far as paramsOf knows.
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

func (e *endpoints) ResolveEndpoint(ctx context.Context, p dynamodb.EndpointParameters) (smithyendpoints.Endpoint, error) {
	if p.ResourceArnList != nil { // of renewals and batches
		return e.sdk.ResolveEndpoint(ctx, p)
	}
	now := paramsOf(&p)
	if last := e.last.Load(); last != nil && last.params == now {
		return last.endpoint, nil // the SDK only reads what it refers to
	}
	endpoint, err := e.sdk.ResolveEndpoint(ctx, p)
	if err == nil {
		e.last.Store(&resolved{now, endpoint})
	}
	return endpoint, err
}
