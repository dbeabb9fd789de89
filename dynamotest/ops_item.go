package dynamotest

import (
	"slices"
	"strings"
)

// condition is what single writes share.
type condition struct {
	ConditionExpression                 *string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           map[string]value
	ReturnValuesOnConditionCheckFailure string
}

type legacyCondition struct {
	Expected            map[string]expected
	ConditionalOperator string
}

type returning struct {
	ReturnValues           string
	ReturnConsumedCapacity string
}

type itemOutput struct {
	Attributes       map[string]value  `json:",omitempty"`
	Item             map[string]value  `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

type getItemInput struct {
	TableName                string
	Key                      map[string]value
	ConsistentRead           bool
	AttributesToGet          []string
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ReturnConsumedCapacity   string
}

func (s *Server) getItem(in *getItemInput, c *consumed) (any, *apiError) {
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	proj, err := projectionOf(in.TableName, in.ProjectionExpression, in.ExpressionAttributeNames, in.AttributesToGet)
	if err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	id, err := t.key(in.Key)
	if err != nil {
		return nil, err
	}
	var item map[string]value
	bytes := 0
	if r := t.find(id, in.Key, in.ConsistentRead); r != nil {
		item, bytes = r.attrs, r.size
	}
	c.read(t, nil, readUnits(bytes, in.ConsistentRead))
	out := &foundItem{ConsumedCapacity: c.single(in.ReturnConsumedCapacity)}
	if item != nil {
		item = proj.apply(item)
		out.Item = &item
	}
	return out, nil
}

// foundItem distinguishes an item without the wanted attributes, {}, from no item.
type foundItem struct {
	Item             *map[string]value `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

// projectionOf parses the ProjectionExpression of a read without other expressions, or its
// older form, AttributesToGet.
func projectionOf(tableName string, expression *string, names map[string]string, attributes []string) (projection, *apiError) {
	if err := checkTableName(tableName); err != nil {
		return nil, err
	}
	if expression != nil && attributes != nil {
		return nil, mixed("AttributesToGet", "ProjectionExpression")
	}
	holders, err := newPlaceholders(names, nil, expression != nil, "")
	if err != nil {
		return nil, err
	}
	if expression == nil {
		return attributesToGet(attributes)
	}
	proj, err := parseProjection(*expression, holders)
	if err != nil {
		return nil, err
	}
	return proj, holders.unused()
}

func attributesToGet(attributes []string) (projection, *apiError) {
	if attributes == nil {
		return nil, nil
	}
	if len(attributes) == 0 {
		return nil, invalid("AttributesToGet cannot be empty")
	}
	proj := projection{}
	seen := map[string]bool{}
	for _, name := range attributes {
		if seen[name] {
			return nil, invalid("Cannot have two attributes with the same name")
		}
		seen[name] = true
		proj = append(proj, path{{name: name}})
	}
	return proj, nil
}

func mixed(legacy, expression string) *apiError {
	return invalid("Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {" + legacy + "} Expression parameters: {" + expression + "}")
}

// write is one write on its way: parsed and checked, with the item before and after it.
type write struct {
	table   *table
	id      string
	test    *expr
	was     *record
	now     *record
	actions []action
	onFail  string
}

// parse reads the condition; update is the UpdateExpression, if the operation has one.
func (w *write) parse(cond condition, legacy legacyCondition, update *string) *apiError {
	if err := enum(cond.ReturnValuesOnConditionCheckFailure, "returnValuesOnConditionCheckFailure", "ALL_OLD", "NONE"); err != nil {
		return err
	}
	w.onFail = cond.ReturnValuesOnConditionCheckFailure
	if legacy.Expected != nil {
		switch {
		case update != nil:
			return mixed("Expected", "UpdateExpression")
		case cond.ConditionExpression != nil:
			return mixed("Expected", "ConditionExpression")
		}
	}
	holders, err := newPlaceholders(cond.ExpressionAttributeNames, cond.ExpressionAttributeValues,
		cond.ConditionExpression != nil || update != nil, ": ConditionExpression is null")
	if err != nil {
		return err
	}
	if update != nil {
		if w.actions, err = parseUpdate(*update, holders); err != nil {
			return err
		}
	}
	if cond.ConditionExpression != nil {
		if w.test, err = parseCondition("ConditionExpression", *cond.ConditionExpression, holders); err != nil {
			return err
		}
	} else if w.test, err = legacy.test(); err != nil {
		return err
	}
	return holders.unused()
}

// check evaluates the condition. A refused write is billed by the item it met.
func (w *write) check(c *consumed) *apiError {
	var item map[string]value
	bytes := 0
	if w.was != nil {
		item, bytes = w.was.attrs, w.was.size
	}
	if w.test.holds(item) {
		return nil
	}
	c.write(w.table, nil, writeUnits(bytes))
	err := &apiError{code: "ConditionalCheckFailedException", message: conditionFailed}
	if w.onFail == "ALL_OLD" {
		err.item = item
	}
	return err
}

func returnValues(got string, allowed ...string) *apiError {
	if got == "" || got == "NONE" || slices.Contains(allowed, got) {
		return nil
	}
	return invalid("Return values set to invalid value")
}

type putItemInput struct {
	TableName string
	Item      map[string]value
	condition
	legacyCondition
	returning
}

func (s *Server) preparePut(tableName string, item map[string]value, cond condition, legacy legacyCondition) (*write, *apiError) {
	w := &write{}
	if err := checkTableName(tableName); err != nil {
		return nil, err
	}
	if item == nil {
		return nil, invalid("Item to put in PutItem cannot be null")
	}
	if err := checkAttributes(item); err != nil {
		return nil, err
	}
	if err := w.parse(cond, legacy, nil); err != nil {
		return nil, err
	}
	t, err := s.table(tableName)
	if err != nil {
		return nil, err
	}
	w.table = t
	if w.id, err = t.keyOf(item); err != nil {
		return w, err
	}
	if err := t.checkIndexKeys(item, false); err != nil {
		return w, err
	}
	w.was, w.now = t.items[w.id], newRecord(item, t.schema, w.id)
	if w.now.size > maxItemSize {
		return nil, invalid("Item size has exceeded the maximum allowed size")
	}
	return w, nil
}

func (s *Server) putItem(in *putItemInput, c *consumed) (any, *apiError) {
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if err := returnValues(in.ReturnValues, "ALL_OLD"); err != nil {
		return nil, err
	}
	w, err := s.preparePut(in.TableName, in.Item, in.condition, in.legacyCondition)
	if err != nil {
		return nil, err
	}
	return w.commit(in.returning, c)
}

// commit checks the condition, applies the write and answers it.
func (w *write) commit(ret returning, c *consumed) (any, *apiError) {
	if err := w.check(c); err != nil {
		return nil, err
	}
	w.table.write(w.was, w.now, c)
	out := &itemOutput{ConsumedCapacity: c.single(ret.ReturnConsumedCapacity)}
	switch {
	case strings.HasSuffix(ret.ReturnValues, "_OLD") && w.was != nil:
		out.Attributes = w.was.attrs
	case strings.HasSuffix(ret.ReturnValues, "_NEW") && w.now != nil:
		out.Attributes = w.now.attrs
	}
	if strings.HasPrefix(ret.ReturnValues, "UPDATED_") {
		touched := map[string]value{}
		for _, a := range w.actions {
			if v, ok := out.Attributes[a.path[0].name]; ok {
				touched[a.path[0].name] = v
			}
		}
		out.Attributes = touched
	}
	return out, nil
}

type deleteItemInput struct {
	TableName string
	Key       map[string]value
	condition
	legacyCondition
	returning
}

func (s *Server) prepareKeyed(tableName string, key map[string]value, cond condition, legacy legacyCondition, update *string, actions []action) (*write, *apiError) {
	w := &write{}
	if err := checkTableName(tableName); err != nil {
		return nil, err
	}
	if err := w.parse(cond, legacy, update); err != nil {
		return nil, err
	}
	w.actions = append(w.actions, actions...)
	t, err := s.table(tableName)
	if err != nil {
		return nil, err
	}
	w.table = t
	if w.id, err = t.key(key); err != nil {
		return w, err
	}
	for _, a := range w.actions {
		if name := a.path[0].name; slices.Contains(t.schema.names(), name) {
			return w, invalid("One or more parameter values were invalid: Cannot update attribute " + name + ". This attribute is part of the key")
		}
	}
	w.was = t.items[w.id]
	return w, nil
}

func (s *Server) deleteItem(in *deleteItemInput, c *consumed) (any, *apiError) {
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if err := returnValues(in.ReturnValues, "ALL_OLD"); err != nil {
		return nil, err
	}
	w, err := s.prepareKeyed(in.TableName, in.Key, in.condition, in.legacyCondition, nil, nil)
	if err != nil {
		return nil, err
	}
	return w.commit(in.returning, c)
}

type updateItemInput struct {
	TableName        string
	Key              map[string]value
	UpdateExpression *string
	AttributeUpdates map[string]attributeUpdate
	condition
	legacyCondition
	returning
}

func (s *Server) updateItem(in *updateItemInput, c *consumed) (any, *apiError) {
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if err := returnValues(in.ReturnValues, "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"); err != nil {
		return nil, err
	}
	if in.AttributeUpdates != nil {
		switch {
		case in.UpdateExpression != nil:
			return nil, mixed("AttributeUpdates", "UpdateExpression")
		case in.ConditionExpression != nil:
			return nil, mixed("AttributeUpdates", "ConditionExpression")
		}
	}
	actions, err := legacyActions(in.AttributeUpdates)
	if err != nil {
		return nil, err
	}
	w, err := s.prepareKeyed(in.TableName, in.Key, in.condition, in.legacyCondition, in.UpdateExpression, actions)
	if err != nil {
		return nil, err
	}
	if err := w.check(c); err != nil {
		return nil, err
	}
	w.test = nil
	if err := w.update(in.Key); err != nil {
		return nil, err
	}
	return w.commit(in.returning, c)
}

// update computes the new item.
func (w *write) update(key map[string]value) *apiError {
	old := key
	if w.was != nil {
		old = w.was.attrs
	}
	item, err := applyUpdate(old, w.actions)
	if err != nil {
		return err
	}
	if err := w.table.checkIndexKeys(item, true); err != nil {
		return err
	}
	for _, a := range w.actions {
		if v, ok := item[a.path[0].name]; ok && v.depth() > maxNesting {
			return invalid(tooDeep)
		}
	}
	w.now = newRecord(item, w.table.schema, w.id)
	if w.now.size > maxItemSize {
		return invalid("Item size to update has exceeded the maximum allowed size")
	}
	return nil
}

func (v value) depth() int {
	d := 0
	for _, e := range v.l {
		d = max(d, e.depth())
	}
	for _, e := range v.m {
		d = max(d, e.depth())
	}
	return d + 1
}
