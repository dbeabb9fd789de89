package dynamotest

import "slices"

// consumed adds up the capacity of one request.
type consumed struct {
	entries     []*tableConsumed
	transaction bool
}

type tableConsumed struct {
	name          string
	read, write   float64
	tableUnits    float64
	indexes       map[string]float64
	indexUnits    float64
	transactional bool
}

func (c *consumed) table(name string) *tableConsumed {
	for _, e := range c.entries {
		if e.name == name {
			return e
		}
	}
	e := &tableConsumed{name: name, indexes: map[string]float64{}, transactional: c.transaction}
	c.entries = append(c.entries, e)
	return e
}

func (c *consumed) add(t *table, x *index, units float64) *tableConsumed {
	if c.transaction {
		units *= 2 // prepare and commit
	}
	e := c.table(t.name)
	if x == nil {
		e.tableUnits += units
	} else {
		e.indexes[x.name] += units
		e.indexUnits += units
	}
	return e
}

func (c *consumed) write(t *table, x *index, units float64) {
	e := c.add(t, x, units)
	e.write = e.tableUnits + e.indexUnits
}

func (c *consumed) read(t *table, x *index, units float64) {
	e := c.add(t, x, units)
	e.read = e.tableUnits + e.indexUnits
}

// units returns the totals for the call log.
func (c *consumed) units() (read, write float64) {
	for _, e := range c.entries {
		read += e.read
		write += e.write
	}
	return read, write
}

func checkReturnCapacity(mode string) *apiError {
	return enum(mode, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
}

func enum(got, name string, allowed ...string) *apiError {
	if got == "" || slices.Contains(allowed, got) {
		return nil
	}
	list := ""
	for i, a := range allowed {
		if i > 0 {
			list += ", "
		}
		list += a
	}
	return invalid("1 validation error detected: Value '" + got + "' at '" + name + "' failed to satisfy constraint: Member must satisfy enum value set: [" + list + "]")
}

type capacityUnits struct {
	CapacityUnits      float64
	ReadCapacityUnits  float64 `json:",omitempty"`
	WriteCapacityUnits float64 `json:",omitempty"`
}

type consumedCapacity struct {
	TableName string
	capacityUnits
	Table                  *capacityUnits           `json:",omitempty"`
	GlobalSecondaryIndexes map[string]capacityUnits `json:",omitempty"`
}

// answer returns ConsumedCapacity as the request wants it, or nil.
func (c *consumed) answer(mode string) []consumedCapacity {
	if mode == "" || mode == "NONE" {
		return nil
	}
	var out []consumedCapacity
	for _, e := range c.entries {
		split := func(units float64) capacityUnits {
			u := capacityUnits{CapacityUnits: units}
			switch {
			case !e.transactional:
			case e.read > 0:
				u.ReadCapacityUnits = units
			default:
				u.WriteCapacityUnits = units
			}
			return u
		}
		cc := consumedCapacity{TableName: e.name, capacityUnits: split(e.tableUnits + e.indexUnits)}
		if mode == "INDEXES" {
			t := split(e.tableUnits)
			cc.Table = &t
			for name, units := range e.indexes {
				if cc.GlobalSecondaryIndexes == nil {
					cc.GlobalSecondaryIndexes = map[string]capacityUnits{}
				}
				cc.GlobalSecondaryIndexes[name] = split(units)
			}
		}
		out = append(out, cc)
	}
	return out
}

// single is the same for requests of one table.
func (c *consumed) single(mode string) *consumedCapacity {
	if all := c.answer(mode); len(all) > 0 {
		return &all[0]
	}
	return nil
}
