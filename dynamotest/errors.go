package dynamotest

import (
	"encoding/json"
	"net/http"
)

// apiError is an error answer of the service.
type apiError struct {
	code    string
	early   bool // is found before a transaction begins, so it is not a reason for cancelling it
	message string
	item    map[string]value     // of ConditionalCheckFailedException
	reasons []cancellationReason // of TransactionCanceledException
}

// cancellationReason says of one action of a transaction why it failed, or "None".
type cancellationReason struct {
	Code    string           `json:"Code"`
	Message string           `json:"Message,omitempty"`
	Item    map[string]value `json:"Item,omitempty"`
}

const conditionFailed = "The conditional request failed"

func invalid(message string) *apiError {
	return &apiError{code: "ValidationException", message: message}
}

// unsupported refuses by name what the package does not know, so that no test passes by chance.
func unsupported(what string) *apiError {
	return invalid("dynamotest: " + what + " is not supported")
}

func noTable() *apiError {
	return &apiError{code: "ResourceNotFoundException", message: "Cannot do operations on a non-existent table"}
}

// status returns the HTTP status that goes with an error code.
func status(code string) int {
	switch code {
	case "InternalServerError", "InternalFailure":
		return http.StatusInternalServerError
	case "ServiceUnavailable", "ServiceUnavailableException":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func namespace(code string) string {
	switch code {
	case "ValidationException":
		return "com.amazon.coral.validate#"
	case "SerializationException":
		return "com.amazon.coral.service#"
	case "ThrottlingException":
		return "com.amazon.coral.availability#"
	}
	return "com.amazonaws.dynamodb.v20120810#"
}

func (e *apiError) body() []byte {
	b, err := json.Marshal(struct {
		Type    string               `json:"__type"`
		Reasons []cancellationReason `json:"CancellationReasons,omitempty"`
		Message string               `json:"Message"`
		Item    map[string]value     `json:"Item,omitempty"`
	}{namespace(e.code) + e.code, e.reasons, e.message, e.item})
	if err != nil { // values always marshal
		return []byte(`{}`)
	}
	return b
}
