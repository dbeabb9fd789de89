package dynamotest

// projection says which parts of an item to answer; nil means all.
type projection []path

func parseProjection(src string, holders *placeholders) (projection, *apiError) {
	p := newParser("ProjectionExpression", src, holders)
	var paths projection
	for p.err == nil {
		paths = append(paths, p.parsePath())
		if !p.accept(",") {
			break
		}
	}
	p.end()
	if p.err == nil {
		p.overlaps(paths)
	}
	if p.err != nil {
		return nil, p.err
	}
	return paths, nil
}

func (p projection) apply(item map[string]value) map[string]value {
	if p == nil || item == nil {
		return item
	}
	root := picked{}
	for _, path := range p {
		if _, ok := path.get(item); ok {
			root.add(path)
		}
	}
	return root.from(value{kind: "M", m: item}).m
}

// picked is a tree of the paths to keep; an empty one keeps all below.
type picked map[pathElem]picked

func (k picked) add(p path) {
	for _, e := range p {
		if k[e] == nil {
			k[e] = picked{}
		}
		k = k[e]
	}
}

func (k picked) from(v value) value {
	if v.kind == "L" {
		out := value{kind: "L", l: []value{}}
		for i, e := range v.l {
			if sub, ok := k[pathElem{index: i, isIndex: true}]; ok {
				out.l = append(out.l, sub.keep(e))
			}
		}
		return out
	}
	out := value{kind: "M", m: map[string]value{}}
	for e, sub := range k {
		if x, ok := v.m[e.name]; ok {
			out.m[e.name] = sub.keep(x)
		}
	}
	return out
}

func (k picked) keep(v value) value {
	if len(k) == 0 {
		return v
	}
	return k.from(v)
}
