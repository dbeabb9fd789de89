package dynasession

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// transaction is a TransactWriteItems call in the making. A repetition must send the same bytes with
// the same token: DynamoDB then answers what became of the first one.
type transaction struct {
	token string
	keys  []string
	parts []types.TransactWriteItem
}

func (t *table) transactPut(tx *transaction, r *Record, x *expression) {
	text := t.worded(x)
	tx.keys = append(tx.keys, r.Key)
	tx.parts = append(tx.parts, types.TransactWriteItem{Put: &types.Put{
		TableName:                           &t.name,
		Item:                                t.item(r),
		ConditionExpression:                 &text.cond,
		ExpressionAttributeNames:            text.names,
		ExpressionAttributeValues:           x.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}})
}

func (t *table) transactUpdate(tx *transaction, key string, x *expression) {
	text := t.worded(x)
	tx.keys = append(tx.keys, key)
	tx.parts = append(tx.parts, types.TransactWriteItem{Update: &types.Update{
		TableName:                           &t.name,
		Key:                                 t.key(key),
		UpdateExpression:                    &text.update,
		ConditionExpression:                 &text.cond,
		ExpressionAttributeNames:            text.names,
		ExpressionAttributeValues:           x.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}})
}

func (t *table) transactDelete(tx *transaction, key string, x *expression) {
	text := t.worded(x)
	tx.keys = append(tx.keys, key)
	tx.parts = append(tx.parts, types.TransactWriteItem{Delete: &types.Delete{
		TableName:                           &t.name,
		Key:                                 t.key(key),
		ConditionExpression:                 &text.cond,
		ExpressionAttributeNames:            text.names,
		ExpressionAttributeValues:           x.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}})
}

// transact does all of tx, or nothing. Where conditions did not hold it returns the refusals, one for
// each part: nil where the part's own condition held.
func (t *table) transact(ctx context.Context, tr *trace, tx *transaction) ([]*refusal, error) {
	out, err := t.client.TransactWriteItems(tr.watch(ctx), &dynamodb.TransactWriteItemsInput{
		ClientRequestToken:     &tx.token,
		ReturnConsumedCapacity: t.capacity(),
		TransactItems:          tx.parts,
	})
	if cancelled := (*types.TransactionCanceledException)(nil); errors.As(err, &cancelled) {
		return t.cancelled(tr, tx, cancelled, err)
	}
	if err != nil {
		return nil, t.translate("TransactWriteItems", err)
	}
	for i := range out.ConsumedCapacity {
		tr.writeUnits += units(&out.ConsumedCapacity[i])
	}
	return nil, nil
}

func (t *table) cancelled(tr *trace, tx *transaction, c *types.TransactionCanceledException, err error) ([]*refusal, error) {
	reasons := c.CancellationReasons
	c.CancellationReasons = nil // they hold items
	if len(reasons) != len(tx.keys) {
		return nil, t.translate("TransactWriteItems", err)
	}
	refusals := make([]*refusal, len(reasons))
	refused := false
	var transient error
	for i, reason := range reasons {
		switch code := aws.ToString(reason.Code); {
		case code == "ConditionalCheckFailed":
			item, wrong := own("TransactWriteItems", tx.keys[i], t.record(reason.Item))
			if wrong != nil {
				tr.Unanswered = true
				return nil, wrong
			}
			refusals[i], refused = &refusal{item}, true
		case transient != nil:
		case code == "TransactionConflict":
			transient = errBusy
		case code == "ThrottlingError", code == "ProvisionedThroughputExceeded":
			transient = errThrottled
		case transientCodes[code]:
			transient = unavailable("TransactWriteItems", err)
		}
	}
	switch {
	case refused:
		return refusals, nil
	case transient != nil:
		return nil, transient
	}
	return nil, t.translate("TransactWriteItems", err)
}

// tombstone is the item that a renewal leaves under the old key: requests that come with the old id
// learn from it that the session was renewed, and a logout where it went.
func tombstone(key string, fresh *Record, now int64) *Record {
	return &Record{
		Key: key, Expires: now + grace, Marks: fresh.Creation(),
		Meta:     Meta{Until: 1}, // versions that do not know moved take it for dead
		Tombstone: true, Moved: fresh.Key,
	}
}

// renewal is one try of a renewal.
type renewal struct {
	old, fresh *Record
	tx         transaction
}

// newRenewal makes the transaction that puts fresh, and a tombstone in the place of old.
func (t *table) newRenewal(old, fresh *Record, l *lease, now int64) *renewal {
	r := &renewal{old: old, fresh: fresh, tx: transaction{token: newToken()}}
	t.transactPut(&r.tx, fresh, &expression{cond: clauses("attribute_not_exists(#i)")})
	x := &expression{}
	if l != nil {
		leased(x, l)
	}
	alive(x, old, now)
	t.same(x, old, true)
	t.unchanged(x, old)
	if t.foreign { // PHP would write onto a tombstone
		t.transactDelete(&r.tx, old.Key, x)
	} else {
		t.transactPut(&r.tx, tombstone(old.Key, fresh, now), x)
	}
	return r
}

// newToken makes a ClientRequestToken, which has at most 36 characters.
func newToken() string { return newID()[:36] }

// renew does all of r, or nothing. Its refusals are of the old item; an own commit whose answer was
// lost is a success.
func (t *table) renew(ctx context.Context, tr *trace, r *renewal) error {
	refusals, err := t.transact(ctx, tr, &r.tx)
	switch {
	case err != nil || refusals == nil:
		return err
	case refusals[0] != nil:
		if found := refusals[0].item; found != nil && found.Creation() == r.fresh.Creation() {
			return nil
		}
		return fmt.Errorf("%w: the new id is taken", ErrConflict)
	}
	if old := refusals[1].item; old != nil && old.Tombstone && old.Creation() == r.fresh.Creation() {
		return nil // and what was renewed has ended since
	}
	return refusals[1]
}
