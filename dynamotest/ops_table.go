package dynamotest

import (
	"slices"
	"time"
)

type attributeDefinition struct{ AttributeName, AttributeType string }

type keyElement struct{ AttributeName, KeyType string }

type throughput struct{ ReadCapacityUnits, WriteCapacityUnits int64 }

type sseSpecification struct {
	Enabled        *bool  `json:",omitempty"`
	SSEType        string `json:",omitempty"`
	KMSMasterKeyId string `json:",omitempty"`
}

type indexProjection struct {
	ProjectionType   string
	NonKeyAttributes []string `json:",omitempty"`
}

type indexInput struct {
	IndexName             string
	KeySchema             []keyElement
	Projection            *indexProjection
	ProvisionedThroughput *throughput
}

type tag struct{ Key, Value string }

type createTableInput struct {
	TableName                 string
	AttributeDefinitions      []attributeDefinition
	KeySchema                 []keyElement
	BillingMode               string
	ProvisionedThroughput     *throughput
	GlobalSecondaryIndexes    []indexInput
	DeletionProtectionEnabled bool
	TableClass                string
	SSESpecification          *sseSpecification
	Tags                      []tag
}

func checkTableName(name string) *apiError {
	ok := len(name) >= 3 && len(name) <= 255
	for i := range len(name) {
		c := name[i]
		ok = ok && (isLetter(c) || isDigit(c) || c == '_' || c == '-' || c == '.')
	}
	if !ok {
		return invalid("Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'")
	}
	return nil
}

// table finds a table; the caller holds the lock.
func (s *Server) table(name string) (*table, *apiError) {
	if err := checkTableName(name); err != nil {
		return nil, err
	}
	t, ok := s.tables[name]
	if !ok {
		return nil, noTable()
	}
	return t, nil
}

func (s *Server) createTable(in *createTableInput, _ *consumed) (any, *apiError) {
	if err := checkTableName(in.TableName); err != nil {
		return nil, err
	}
	if in.AttributeDefinitions == nil {
		return nil, invalid("No Attribute Schema Defined")
	}
	if err := enum(in.BillingMode, "billingMode", "PROVISIONED", "PAY_PER_REQUEST"); err != nil {
		return nil, err
	}
	if err := enum(in.TableClass, "tableClass", "STANDARD", "STANDARD_INFREQUENT_ACCESS"); err != nil {
		return nil, err
	}
	t := &table{
		name: in.TableName, items: map[string]*record{}, attributes: in.AttributeDefinitions,
		created: time.Now(), onDemand: in.BillingMode == "PAY_PER_REQUEST", billed: in.ProvisionedThroughput,
		protected: in.DeletionProtectionEnabled, class: in.TableClass, sse: in.SSESpecification,
	}
	if !t.onDemand && t.billed == nil {
		return nil, invalid("No provisioned throughput specified for the table")
	}
	var err *apiError
	if t.schema, err = makeSchema(in.KeySchema, t.attributes, ""); err != nil {
		return nil, err
	}
	if in.GlobalSecondaryIndexes != nil && len(in.GlobalSecondaryIndexes) == 0 {
		return nil, invalid("GSI list is empty/invalid")
	}
	for _, x := range in.GlobalSecondaryIndexes {
		if err := t.addIndex(x); err != nil {
			return nil, err
		}
	}
	if err := t.checkDefinitions(); err != nil {
		return nil, err
	}
	if _, ok := s.tables[t.name]; ok {
		return nil, &apiError{code: "ResourceInUseException", message: "Cannot create preexisting table"}
	}
	s.tables[t.name] = t
	return map[string]any{"TableDescription": t.describe()}, nil
}

// makeSchema reads a key schema; prefix is put before the messages of an index.
func makeSchema(elems []keyElement, defs []attributeDefinition, prefix string) (keySchema, *apiError) {
	var k keySchema
	kinds := map[string]string{}
	for _, d := range defs {
		if err := enum(d.AttributeType, "attributeDefinitions.1.member.attributeType", "B", "N", "S"); err != nil {
			return k, err
		}
		if kinds[d.AttributeName] != "" {
			return k, invalid("Duplicate AttributeName in AttributeDefinitions: " + d.AttributeName)
		}
		kinds[d.AttributeName] = d.AttributeType
	}
	if len(elems) > 2 {
		return k, invalid("Key schema too big.  Key Schema must at most consist of the hash and range key of a table")
	}
	for _, e := range elems {
		if e.KeyType == "RANGE" {
			k.sort, k.sortKind = e.AttributeName, kinds[e.AttributeName]
		} else {
			k.hash, k.hashKind = e.AttributeName, kinds[e.AttributeName]
		}
	}
	switch {
	case k.hash == "":
		return k, invalid("No Hash Key specified in schema.  All Dynamo DB tables must have exactly one hash key")
	case len(elems) == 2 && k.sort == "":
		return k, invalid("Too many hash keys specified.  All Dynamo DB tables must have exactly one hash key")
	case k.hash == k.sort:
		return k, invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
	case k.hashKind == "" && prefix == "":
		return k, invalid("Hash Key not specified in Attribute Definitions.  Type unknown.")
	case k.hashKind == "":
		return k, invalid(prefix + " hash key not specified in Attribute Definitions.Type unknown.")
	case k.sort != "" && k.sortKind == "" && prefix == "":
		return k, invalid("Range Key not specified in Attribute Definitions.  Type unknown.")
	case k.sort != "" && k.sortKind == "":
		return k, invalid(prefix + " range key not specified in Attribute Definitions.Type unknown.")
	}
	return k, nil
}

// addIndex adds an empty index.
func (t *table) addIndex(in indexInput) *apiError {
	if err := checkTableName(in.IndexName); err != nil {
		return err
	}
	if t.index(in.IndexName) != nil {
		return invalid("Two secondary indexes have same name: " + in.IndexName)
	}
	schema, err := makeSchema(in.KeySchema, t.attributes, "Global Secondary Index")
	if err != nil {
		return err
	}
	if in.Projection == nil {
		return invalid("Indexes must have a projection specified")
	}
	p := in.Projection
	switch {
	case p.ProjectionType == "INCLUDE" && len(p.NonKeyAttributes) == 0:
		return invalid("If Projection type INCLUDE is specified, some non-key attributes to include in the projection must be specified as well")
	case p.ProjectionType != "INCLUDE" && p.NonKeyAttributes != nil:
		return invalid("One or more parameter values were invalid: ProjectionType is " + p.ProjectionType + ", but NonKeyAttributes is specified")
	case p.ProjectionType == "":
		return invalid("One or more parameter values were invalid: Unknown ProjectionType: null")
	}
	if err := enum(p.ProjectionType, "projectionType", "ALL", "INCLUDE", "KEYS_ONLY"); err != nil {
		return err
	}
	t.indexes = append(t.indexes, &index{
		name: in.IndexName, schema: schema, projection: p.ProjectionType, include: p.NonKeyAttributes, billed: in.ProvisionedThroughput,
	})
	return nil
}

// checkDefinitions refuses attribute definitions that no key uses.
func (t *table) checkDefinitions() *apiError {
	used := map[string]bool{}
	for _, name := range t.schema.names() {
		used[name] = true
	}
	for _, x := range t.indexes {
		for _, name := range x.schema.names() {
			used[name] = true
		}
	}
	if len(used) != len(t.attributes) {
		return invalid("The number of attributes in key schema must match the number of attributes defined in attribute definitions.")
	}
	return nil
}

func (k keySchema) describe() []keyElement {
	out := []keyElement{{k.hash, "HASH"}}
	if k.sort != "" {
		out = append(out, keyElement{k.sort, "RANGE"})
	}
	return out
}

func describeThroughput(b *throughput, onDemand bool) map[string]any {
	if b == nil || onDemand {
		b = &throughput{}
	}
	return map[string]any{"ReadCapacityUnits": b.ReadCapacityUnits, "WriteCapacityUnits": b.WriteCapacityUnits}
}

const arnPrefix = "arn:aws:dynamodb:us-east-1:000000000000:table/"

func (t *table) describe() map[string]any {
	created := float64(t.created.UnixMilli()) / 1000
	d := map[string]any{
		"TableName": t.name, "TableStatus": "ACTIVE", "TableArn": arnPrefix + t.name,
		"AttributeDefinitions": t.attributes, "KeySchema": t.schema.describe(), "CreationDateTime": created,
		"ProvisionedThroughput": describeThroughput(t.billed, t.onDemand),
		"ItemCount":             len(t.records), "TableSizeBytes": shelfBytes(t.records),
		"DeletionProtectionEnabled": t.protected,
	}
	if t.onDemand {
		d["BillingModeSummary"] = map[string]any{"BillingMode": "PAY_PER_REQUEST", "LastUpdateToPayPerRequestDateTime": created}
	}
	if t.class != "" {
		d["TableClassSummary"] = map[string]any{"TableClass": t.class}
	}
	if t.sse != nil && t.sse.Enabled != nil && *t.sse.Enabled {
		d["SSEDescription"] = map[string]any{"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": t.sse.KMSMasterKeyId}
	}
	var indexes []map[string]any
	for _, x := range t.indexes {
		indexes = append(indexes, map[string]any{
			"IndexName": x.name, "IndexStatus": "ACTIVE", "IndexArn": arnPrefix + t.name + "/index/" + x.name,
			"KeySchema": x.schema.describe(), "Projection": indexProjection{x.projection, x.include},
			"ProvisionedThroughput": describeThroughput(x.billed, t.onDemand),
			"ItemCount":             len(x.records), "IndexSizeBytes": shelfBytes(x.records),
		})
	}
	if indexes != nil {
		d["GlobalSecondaryIndexes"] = indexes
	}
	return d
}

func shelfBytes(records []*record) int {
	n := 0
	for _, r := range records {
		n += r.size
	}
	return n
}

type tableInput struct{ TableName string }

func (s *Server) describeTable(in *tableInput, _ *consumed) (any, *apiError) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Table": t.describe()}, nil
}

func (s *Server) deleteTable(in *tableInput, _ *consumed) (any, *apiError) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	if t.protected {
		return nil, invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	}
	delete(s.tables, t.name)
	return map[string]any{"TableDescription": t.describe()}, nil
}

type listTablesInput struct {
	ExclusiveStartTableName string
	Limit                   *int
}

func (s *Server) listTables(in *listTablesInput, _ *consumed) (any, *apiError) {
	limit := 100
	if in.Limit != nil {
		limit = *in.Limit
	}
	if limit < 1 {
		return nil, invalid("Limit must be greater than or equal to 1")
	}
	if limit > 100 {
		return nil, invalid("1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100")
	}
	names := sortedKeys(s.tables)
	i, found := slices.BinarySearch(names, in.ExclusiveStartTableName)
	if found {
		i++
	}
	names = names[i:]
	out := map[string]any{"TableNames": names}
	if len(names) > limit {
		out["TableNames"] = names[:limit]
		out["LastEvaluatedTableName"] = names[limit-1]
	}
	return out, nil
}

type indexUpdate struct {
	Create *indexInput
	Delete *struct{ IndexName string }
}

type updateTableInput struct {
	TableName                   string
	AttributeDefinitions        []attributeDefinition
	BillingMode                 string
	ProvisionedThroughput       *throughput
	DeletionProtectionEnabled   *bool
	TableClass                  string
	GlobalSecondaryIndexUpdates []indexUpdate
}

func (s *Server) updateTable(in *updateTableInput, _ *consumed) (any, *apiError) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	if in.BillingMode == "" && in.ProvisionedThroughput == nil && in.DeletionProtectionEnabled == nil &&
		in.TableClass == "" && in.GlobalSecondaryIndexUpdates == nil {
		return nil, invalid("Nothing to update")
	}
	if len(in.GlobalSecondaryIndexUpdates) > 1 {
		return nil, &apiError{code: "LimitExceededException", message: "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table"}
	}
	for _, u := range in.GlobalSecondaryIndexUpdates {
		if err := t.updateIndex(u, in.AttributeDefinitions); err != nil {
			return nil, err
		}
	}
	if in.DeletionProtectionEnabled != nil {
		t.protected = *in.DeletionProtectionEnabled
	}
	if in.BillingMode != "" {
		t.onDemand = in.BillingMode == "PAY_PER_REQUEST"
	}
	if in.ProvisionedThroughput != nil {
		t.billed = in.ProvisionedThroughput
	}
	if in.TableClass != "" {
		t.class = in.TableClass
	}
	return map[string]any{"TableDescription": t.describe()}, nil
}

// updateIndex makes or drops an index, at once, with what the table holds.
func (t *table) updateIndex(u indexUpdate, defs []attributeDefinition) *apiError {
	switch {
	case u.Delete != nil:
		x := t.index(u.Delete.IndexName)
		if x == nil {
			return &apiError{code: "ResourceNotFoundException", message: "Requested resource not found"}
		}
		t.indexes = slices.DeleteFunc(slices.Clone(t.indexes), func(y *index) bool { return y == x })
		t.forgetAttributes()
	case u.Create != nil:
		was := t.attributes
		known := map[string]bool{}
		for _, d := range was {
			known[d.AttributeName] = true
		}
		for _, d := range defs {
			if !known[d.AttributeName] {
				t.attributes = append(slices.Clone(t.attributes), d)
			}
		}
		if err := t.addIndex(*u.Create); err != nil {
			t.attributes = was
			return err
		}
		x := t.indexes[len(t.indexes)-1]
		for _, r := range t.records {
			if e := x.project(r, t.schema); e != nil {
				x.put(e)
			}
		}
	default:
		return unsupported("UpdateTable: parameter GlobalSecondaryIndexUpdates without Create or Delete")
	}
	return nil
}

// forgetAttributes drops the definitions that no key uses any more.
func (t *table) forgetAttributes() {
	used := t.schema.names()
	for _, x := range t.indexes {
		used = append(used, x.schema.names()...)
	}
	t.attributes = slices.DeleteFunc(slices.Clone(t.attributes), func(d attributeDefinition) bool {
		return !slices.Contains(used, d.AttributeName)
	})
}
