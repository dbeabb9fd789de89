// Package adapterhook has functions that this project's adapters need and the public API does not. The root package sets its
// functions when the program starts.
package adapterhook

import (
	"context"
	"net/http"
)

// StartAs starts a new session of a *dynasession.Store, which is stored under the given id if it is saved: for a framework
// that makes the tokens itself. The id must be new, have the form of the store's ids, and be hard to guess. It returns a
// *dynasession.Session.
var StartAs func(store any, ctx context.Context, id string) (sess any)

// Answer answers a request whose session a *dynasession.Store could not load or save: with Config.ErrorHandler, or its
// default.
var Answer func(store any, w http.ResponseWriter, r *http.Request, err error)
