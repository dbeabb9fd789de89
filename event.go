package dynasession

import "time"

// An Event tells of one operation, for metrics and traces.
type Event struct {
	// Op is "load", "save", "touch" (also by UpdateTimestamp), "renew", "destroy", "release" (of a
	// lock), "late save" (lost, since the headers had gone), or a verb of Store: "read", "write",
	// "sweep", "user sessions", "destroy user".
	Op string
	// Ref names the session as [Session.Ref] does; "" where there is none, or many.
	Ref      string
	Start    time.Time
	Duration time.Duration // retries and waiting included
	// ReadUnits and WriteUnits are capacity units as DynamoDB counted them. Refused writes
	// are billed too, but DynamoDB does not say how much.
	ReadUnits, WriteUnits float64
	// Conflicts counts writes that were refused because another had come first.
	Conflicts int
	// Err is what the operation failed with, nil for success.
	Err error
}
