package dynamotest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// tokenLife is how long a ClientRequestToken makes a repetition harmless.
const tokenLife = 10 * time.Minute

type transactPut struct {
	TableName string
	Item      map[string]value
	condition
}

type transactKeyed struct {
	TableName string
	Key       map[string]value
	condition
}

type transactUpdate struct {
	TableName        string
	Key              map[string]value
	UpdateExpression *string
	condition
}

type transactWriteItem struct {
	ConditionCheck *transactKeyed
	Put            *transactPut
	Delete         *transactKeyed
	Update         *transactUpdate
}

type transactWriteInput struct {
	TransactItems          []transactWriteItem
	ClientRequestToken     string
	ReturnConsumedCapacity string
}

type transactOutput struct {
	ConsumedCapacity []consumedCapacity `json:",omitempty"`
	Responses        []foundItem        `json:",omitempty"`
}

// transacted remembers a transaction that was committed under a token.
type transacted struct {
	token  string
	digest [sha256.Size]byte
	until  time.Time
	keys   []transactedKey
}

type transactedKey struct{ table, id string }

func (s *Server) transactWriteItems(in *transactWriteInput, c *consumed) (any, *apiError) {
	c.transaction = true
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	writes := make([]*write, len(in.TransactItems))
	failures := make([]*apiError, len(in.TransactItems))
	for i, item := range in.TransactItems {
		w, err := s.prepareTransact(item)
		if w == nil || err != nil && err.early {
			return nil, err
		}
		writes[i], failures[i] = w, err
	}
	seen := map[transactedKey]bool{}
	var keys []transactedKey
	for i, w := range writes {
		if failures[i] != nil {
			continue
		}
		k := transactedKey{w.table.name, w.id}
		if seen[k] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[k] = true
		keys = append(keys, k)
	}
	digest := in.digest()
	if in.ClientRequestToken != "" {
		if done, err := s.replay(in.ClientRequestToken, digest, c); done || err != nil {
			return &transactOutput{ConsumedCapacity: c.answer(in.ReturnConsumedCapacity)}, err
		}
	}
	if err := runTransaction(in, writes, failures, c); err != nil {
		return nil, err
	}
	if in.ClientRequestToken != "" {
		done := &transacted{in.ClientRequestToken, digest, time.Now().Add(tokenLife), keys}
		s.tokens[done.token] = done
		s.tokenQueue = append(s.tokenQueue, done)
	}
	return &transactOutput{ConsumedCapacity: c.answer(in.ReturnConsumedCapacity)}, nil
}

func (in *transactWriteInput) check() *apiError {
	if len(in.TransactItems) == 0 {
		return invalid("Value [] at 'transactItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	if len(in.TransactItems) > 100 {
		return invalid("Member must have length less than or equal to 100")
	}
	if token := in.ClientRequestToken; len(token) > 36 {
		return invalid("Value " + token + " at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or equal to 36")
	}
	return nil
}

// digest distinguishes two requests with one token.
func (in *transactWriteInput) digest() [sha256.Size]byte {
	return sha256.Sum256(canonical(in.TransactItems))
}

// replay answers a token that is known: at once, and only for the same request.
func (s *Server) replay(token string, digest [sha256.Size]byte, c *consumed) (bool, *apiError) {
	now := time.Now()
	for len(s.tokenQueue) > 0 && !s.tokenQueue[0].until.After(now) {
		delete(s.tokens, s.tokenQueue[0].token)
		s.tokenQueue = s.tokenQueue[1:]
	}
	done, ok := s.tokens[token]
	if !ok {
		return false, nil
	}
	if done.digest != digest {
		return false, &apiError{code: "IdempotentParameterMismatchException", message: "The request uses a client token that was already used with other parameters"}
	}
	for _, k := range done.keys {
		t := s.tables[k.table]
		if t == nil {
			continue
		}
		bytes := 0
		if r := t.items[k.id]; r != nil {
			bytes = r.size
		}
		c.read(t, nil, readUnits(bytes, true))
	}
	return true, nil
}

func (s *Server) prepareTransact(item transactWriteItem) (*write, *apiError) {
	n := 0
	for _, given := range []bool{item.ConditionCheck != nil, item.Put != nil, item.Delete != nil, item.Update != nil} {
		if given {
			n++
		}
	}
	switch {
	case n == 0:
		return nil, invalid("Invalid Request: TransactWriteRequest should contain Delete or Put or Update request")
	case n > 1:
		return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	case item.Put != nil:
		return s.preparePut(item.Put.TableName, item.Put.Item, item.Put.condition, legacyCondition{})
	case item.Delete != nil:
		return s.prepareKeyed(item.Delete.TableName, item.Delete.Key, item.Delete.condition, legacyCondition{}, nil, nil)
	case item.Update != nil:
		u := item.Update
		return s.prepareKeyed(u.TableName, u.Key, u.condition, legacyCondition{}, u.UpdateExpression, nil)
	}
	if item.ConditionCheck.ConditionExpression == nil {
		return nil, invalid("Value null at 'transactItems.1.member.conditionCheck.conditionExpression' failed to satisfy constraint: Member must not be null")
	}
	return s.prepareKeyed(item.ConditionCheck.TableName, item.ConditionCheck.Key, item.ConditionCheck.condition, legacyCondition{}, nil, nil)
}

// runTransaction checks every action first; only if all may, all are applied.
func runTransaction(in *transactWriteInput, writes []*write, failures []*apiError, c *consumed) *apiError {
	bytes := 0
	for i, w := range writes {
		if failures[i] != nil {
			continue
		}
		if err := w.check(&consumed{}); err != nil {
			failures[i] = err
			continue
		}
		if u := in.TransactItems[i].Update; u != nil {
			failures[i] = w.update(u.Key)
		}
		if w.now != nil {
			bytes += w.now.size
		}
		if bytes > maxTransact {
			return invalid(fmt.Sprintf("Transaction payload size cannot exceed 4MB. Payload Size: %d", bytes))
		}
	}
	for _, f := range failures {
		if f != nil {
			billCancelled(writes, failures, c)
			return cancelled(failures)
		}
	}
	for i, w := range writes {
		if in.TransactItems[i].ConditionCheck != nil {
			c.write(w.table, nil, writeUnits(w.was.bytes()))
			continue
		}
		w.table.write(w.was, w.now, c)
	}
	return nil
}

func (r *record) bytes() int {
	if r == nil {
		return 0
	}
	return r.size
}

// billCancelled: what a cancelled transaction prepared is paid for.
func billCancelled(writes []*write, failures []*apiError, c *consumed) {
	for i, w := range writes {
		if w.id == "" {
			continue
		}
		bytes := w.was.bytes()
		if failures[i] == nil {
			bytes = max(bytes, w.now.bytes())
		}
		c.write(w.table, nil, writeUnits(bytes))
	}
}

// cancelled makes the exception from what went wrong with each action, nil for nothing.
func cancelled(failures []*apiError) *apiError {
	e := &apiError{code: "TransactionCanceledException"}
	var codes []string
	for _, f := range failures {
		r := cancellationReason{Code: "None"}
		if f != nil {
			r = cancellationReason{Code: f.code, Message: f.message, Item: f.item}
			switch f.code {
			case "ConditionalCheckFailedException":
				r.Code = "ConditionalCheckFailed"
			case "ValidationException":
				r.Code = "ValidationError"
			case "TransactionConflictException":
				r.Code = "TransactionConflict"
			}
		}
		codes = append(codes, r.Code)
		e.reasons = append(e.reasons, r)
	}
	e.message = "Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]"
	return e
}

type transactGetItem struct {
	Get *struct {
		TableName                string
		Key                      map[string]value
		ProjectionExpression     *string
		ExpressionAttributeNames map[string]string
	}
}

type transactGetInput struct {
	TransactItems          []transactGetItem
	ReturnConsumedCapacity string
}

func (s *Server) transactGetItems(in *transactGetInput, c *consumed) (any, *apiError) {
	c.transaction = true
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if err := (&transactWriteInput{TransactItems: make([]transactWriteItem, len(in.TransactItems))}).check(); err != nil {
		return nil, err
	}
	out := &transactOutput{}
	for _, item := range in.TransactItems {
		if item.Get == nil {
			return nil, invalid("Invalid Request: TransactGetRequest should contain Get request")
		}
		proj, err := projectionOf(item.Get.TableName, item.Get.ProjectionExpression, item.Get.ExpressionAttributeNames, nil)
		if err != nil {
			return nil, err
		}
		t, err := s.table(item.Get.TableName)
		if err != nil {
			return nil, err
		}
		id, err := t.key(item.Get.Key)
		if err != nil {
			return nil, err
		}
		found := foundItem{}
		r := t.items[id]
		if r != nil {
			attrs := proj.apply(r.attrs)
			found.Item = &attrs
		}
		c.read(t, nil, readUnits(r.bytes(), true))
		out.Responses = append(out.Responses, found)
	}
	out.ConsumedCapacity = c.answer(in.ReturnConsumedCapacity)
	return out, nil
}
