package dynamotest

const (
	maxItemSize = 400 << 10
	maxPageSize = 1 << 20
	maxBatch    = 16 << 20
	maxTransact = 4 << 20
	maxNesting  = 32
)

// size is what the value counts towards the item's size, in bytes.
func (v value) size() int {
	switch v.kind {
	case "S", "B":
		return len(v.s)
	case "N":
		return v.n.size()
	case "BOOL", "NULL":
		return 1
	case "SS", "NS", "BS":
		n := 0
		for _, e := range v.l {
			n += e.size()
		}
		return n
	case "L":
		n := 3
		for _, e := range v.l {
			n += 1 + e.size()
		}
		return n
	case "M":
		n := 3
		for name, e := range v.m {
			n += 1 + len(name) + e.size()
		}
		return n
	}
	return 0
}

// itemSize is names plus values, as DynamoDB counts it for the item limit and for billing.
func itemSize(attrs map[string]value) int {
	n := 0
	for name, v := range attrs {
		n += len(name) + v.size()
	}
	return n
}

// writeUnits rounds up to whole KB, at least one.
func writeUnits(bytes int) float64 {
	return float64(max(1, (bytes+1023)/1024))
}

// readUnits rounds up to 4 KB; an eventually consistent read costs half.
func readUnits(bytes int, consistent bool) float64 {
	u := float64(max(1, (bytes+4095)/4096))
	if !consistent {
		u /= 2
	}
	return u
}
