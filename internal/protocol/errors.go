package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/dynasession/dynasession/internal/wire"
)

// A Kind is what an error means for the caller.
type Kind int

const (
	// Other is an error that this package has no name for.
	Other Kind = iota
	// Unavailable means that DynamoDB did not answer, throttled, or failed. A write may have taken effect.
	Unavailable
	// Credentials means that AWS refuses the credentials, or that there are none.
	Credentials
	// NoTable means that there is no such table or index.
	NoTable
	// OtherKeys means that the table or the index has another key.
	OtherKeys
	// TooLarge means that the item would be larger than DynamoDB allows.
	TooLarge
	// Unwritable means that an attribute of the item has a type or value that this package does not write, so that no save can
	// take effect.
	Unwritable
)

// An Error is an error of a call, without the items that AWS's error may hold.
type Error struct {
	Kind Kind
	Op   string // DynamoDB's operation
	Hint string // what to do; may be ""
	Err  error
}

func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Op + ": " + e.Hint + ": " + e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// transientCodes are AWS's error codes for "perhaps later". The SDK has repeated the call.
var transientCodes = set(
	"ProvisionedThroughputExceededException", "ProvisionedThroughputExceeded",
	"ThrottlingException", "Throttling", "ThrottlingError", "RequestThrottled",
	"RequestLimitExceeded", "LimitExceededException",
	"InternalServerError", "InternalFailure", "ServiceUnavailable",
	"ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException",
	"TransactionInProgressException",
)

// credentialCodes are AWS's error codes for credentials that it refuses (IAM User Guide and DynamoDB API Reference, "Common
// Errors").
var credentialCodes = set(
	"AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired",
	"ExpiredTokenException", "ExpiredToken", "RequestExpired",
	"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId",
	"MissingAuthenticationToken", "MissingAuthenticationTokenException",
	"IncompleteSignature", "IncompleteSignatureException",
	"InvalidSignatureException", "SignatureDoesNotMatch",
)

func set(all ...string) map[string]bool {
	m := make(map[string]bool, len(all))
	for _, s := range all {
		m[s] = true
	}
	return m
}

// noIdentity is in the SDK's errors for calls that it has no credentials for. Their causes have types of each provider, and
// may hold answers of AWS's other services.
const noIdentity = "get identity: "

// isConflict reports whether a transaction on the same item was in the way of a write.
func isConflict(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && (api.ErrorCode() == "TransactionConflictException" || api.ErrorCode() == "ReplicatedWriteConflictException")
}

// explain returns err, of an operation on the table, as an Error. AWS's error stays reachable by errors.As.
func (t *Table) explain(op string, err error) error {
	var explained *Error
	var foreign *foreignError
	switch {
	case err == nil, errors.As(err, &explained):
		return err
	case errors.As(err, &foreign):
		return &Error{Kind: Unavailable, Op: op, Err: err}
	}
	return Explain(op, t.name, t.client.Options().Region, err)
}

// Explain returns err, of an operation on the table in the region, as an Error.
func Explain(op, table, region string, err error) error {
	e := &Error{Op: op, Err: err}
	var api smithy.APIError
	switch {
	case errors.Is(err, context.Canceled):
		return e
	case strings.Contains(err.Error(), noIdentity):
		e.Kind = Credentials
		return e
	case !errors.As(err, &api): // the network, a deadline, an answer that is none of DynamoDB's
		e.Kind = Unavailable
		return e
	}
	code, message := api.ErrorCode(), api.ErrorMessage()
	switch {
	case credentialCodes[code]:
		e.Kind = Credentials
	case code == "ResourceNotFoundException":
		e.Kind = NoTable
		e.Hint = fmt.Sprintf("no table (or index) %q in this account and the region %s; Store.CreateTable makes it", table, region)
	case code == "ValidationException" && saysBadNumber(message):
		e.Kind = Unwritable
	case code == "ValidationException" && strings.Contains(message, "tem size"):
		e.Kind = TooLarge
	case code == "ValidationException" && saysOtherKeys(message):
		e.Kind = OtherKeys
		e.Hint = fmt.Sprintf("table %q does not have the key or index that Config says; Store.Open tells more", table)
	case transientCodes[code], wire.Status(err) >= 500, !wire.IsCode(code):
		e.Kind = Unavailable
	}
	return e
}

// saysBadNumber reports whether DynamoDB could not add to a stored number because it is none, or too large. That is rev,
// which only this package should write.
func saysBadNumber(message string) bool {
	return containsAny(message, "operand in the update expression has an incorrect data type", "Number overflow", "supports precision up to")
}

// saysOtherKeys reports whether DynamoDB refuses a call because the table has other keys. It refuses a read in other words
// than a put.
func saysOtherKeys(message string) bool {
	return containsAny(message, "schema", "conditions on the keys", "index", "Missing the key", "required keys", "Type mismatch for")
}

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}
