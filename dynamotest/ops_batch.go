package dynamotest

type keysAndAttributes struct {
	Keys                     []map[string]value
	ConsistentRead           bool              `json:",omitempty"`
	AttributesToGet          []string          `json:",omitempty"`
	ProjectionExpression     *string           `json:",omitempty"`
	ExpressionAttributeNames map[string]string `json:",omitempty"`
}

type batchGetInput struct {
	RequestItems           map[string]keysAndAttributes
	ReturnConsumedCapacity string
}

type batchGetOutput struct {
	Responses        map[string][]map[string]value
	UnprocessedKeys  map[string]keysAndAttributes
	ConsumedCapacity []consumedCapacity `json:",omitempty"`
}

func (s *Server) batchGetItem(in *batchGetInput, c *consumed) (any, *apiError) {
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if len(in.RequestItems) == 0 {
		return nil, invalid("BatchGetItem must have some requests set")
	}
	n := 0
	for name, ka := range in.RequestItems {
		n += len(ka.Keys)
		if len(ka.Keys) == 0 {
			return nil, invalid("The list of keys in RequestItems for BatchGetItem is required: " + name + " has empty list")
		}
	}
	if n > 100 {
		return nil, invalid("Too many items requested for the BatchGetItem call")
	}
	out := &batchGetOutput{map[string][]map[string]value{}, map[string]keysAndAttributes{}, nil}
	names := sortedKeys(in.RequestItems)
	projs, ids := map[string]projection{}, map[string][]string{}
	for _, name := range names {
		ka := in.RequestItems[name]
		proj, err := projectionOf(name, ka.ProjectionExpression, ka.ExpressionAttributeNames, ka.AttributesToGet)
		if err != nil {
			return nil, err
		}
		projs[name] = proj
		if ids[name], err = s.batchKeys(name, ka.Keys); err != nil {
			return nil, err
		}
	}
	process := s.unprocessedAfter(n)
	bytes := 0
	for _, name := range names {
		ka, t := in.RequestItems[name], s.tables[name]
		found := []map[string]value{}
		left := ka
		left.Keys = nil
		for i, id := range ids[name] {
			r := t.find(id, ka.Keys[i], ka.ConsistentRead)
			size := 0
			if r != nil {
				size = r.size
			}
			if process == 0 || bytes+size > maxBatch {
				process = 0
				left.Keys = append(left.Keys, ka.Keys[i])
				continue
			}
			process--
			bytes += size
			c.read(t, nil, readUnits(size, ka.ConsistentRead))
			if r != nil {
				found = append(found, projs[name].apply(r.attrs))
			}
		}
		out.Responses[name] = found
		if left.Keys != nil {
			out.UnprocessedKeys[name] = left
		}
	}
	out.ConsumedCapacity = c.answer(in.ReturnConsumedCapacity)
	return out, nil
}

// batchKeys checks the keys of one table and returns their ids.
func (s *Server) batchKeys(name string, keys []map[string]value) ([]string, *apiError) {
	t, err := s.table(name)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	ids := make([]string, len(keys))
	for i, key := range keys {
		id, err := t.key(key)
		if err != nil {
			return nil, err
		}
		if seen[id] {
			return nil, invalid("Provided list of item keys contains duplicates")
		}
		seen[id] = true
		ids[i] = id
	}
	return ids, nil
}

type writeRequest struct {
	PutRequest    *putRequest    `json:",omitempty"`
	DeleteRequest *deleteRequest `json:",omitempty"`
}

type putRequest struct{ Item map[string]value }

type deleteRequest struct{ Key map[string]value }

type batchWriteInput struct {
	RequestItems           map[string][]writeRequest
	ReturnConsumedCapacity string
}

type batchWriteOutput struct {
	UnprocessedItems map[string][]writeRequest
	ConsumedCapacity []consumedCapacity `json:",omitempty"`
}

func (s *Server) batchWriteItem(in *batchWriteInput, c *consumed) (any, *apiError) {
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if len(in.RequestItems) == 0 {
		return nil, invalid("BatchWriteItem cannot have a null or no requests set")
	}
	n := 0
	for name, requests := range in.RequestItems {
		n += len(requests)
		if len(requests) == 0 {
			return nil, invalid("The batch write request list for a table cannot be null or empty: " + name)
		}
	}
	if n > 25 {
		return nil, invalid("Too many items requested for the BatchWriteItem call")
	}
	names := sortedKeys(in.RequestItems)
	writes := map[string][]*write{}
	for _, name := range names {
		seen := map[string]bool{}
		for _, r := range in.RequestItems[name] {
			w, err := s.prepareBatchWrite(name, r)
			if err != nil {
				return nil, err
			}
			if seen[w.id] {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			seen[w.id] = true
			writes[name] = append(writes[name], w)
		}
	}
	process := s.unprocessedAfter(n)
	out := &batchWriteOutput{UnprocessedItems: map[string][]writeRequest{}}
	for _, name := range names {
		for i, w := range writes[name] {
			if process == 0 {
				out.UnprocessedItems[name] = append(out.UnprocessedItems[name], in.RequestItems[name][i])
				continue
			}
			process--
			w.table.write(w.was, w.now, c)
		}
	}
	out.ConsumedCapacity = c.answer(in.ReturnConsumedCapacity)
	return out, nil
}

func (s *Server) prepareBatchWrite(name string, r writeRequest) (*write, *apiError) {
	switch {
	case (r.PutRequest == nil) == (r.DeleteRequest == nil):
		return nil, invalid(manyTypes)
	case r.PutRequest != nil:
		return s.preparePut(name, r.PutRequest.Item, condition{}, legacyCondition{})
	}
	return s.prepareKeyed(name, r.DeleteRequest.Key, condition{}, legacyCondition{}, nil, nil)
}
