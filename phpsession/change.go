package phpsession

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dynasession/dynasession"
)

// Change sets the value at a dotted path, as CakePHP writes it: "Auth.User.name" is
// $_SESSION['Auth']['User']['name']. It makes the arrays that are missing, and puts one in the place of
// anything else that has no elements. What is beside the path keeps its bytes: objects of any class, private properties, floats
// as PHP wrote them. Of a value with references the rest is what it was to PHP, though its bytes may differ. A v
// that does not encode fails the save.
//
// dynasession.Update with a struct drops what the struct lacks, and makes text of PHP's times: use Change where PHP has
// more than Go knows.
func Change(s *dynasession.Session, path string, v any) {
	key, rest, dotted := strings.Cut(path, ".")
	if !dotted {
		s.Set(key, v)
		return
	}
	parts := strings.Split(rest, ".")
	dynasession.Update(s, key, func(old patch) patch {
		old.path, old.value = parts, v
		return old
	})
}

// patch is an encoded value, and what Change sets in it.
type patch struct {
	data  []byte // nil: there is none
	start int    // of the value in data
	whole bool   // it has no references, which name other parts of it by their numbers
	tree  Value  // the value, where it has

	path  []string
	value any
}

// fillPatch decodes the value if its bytes cannot be kept.
func (d *decoder) fillPatch(p *patch) error {
	if p.whole {
		return nil
	}
	_, err := d.fill(p.start, 0, &p.tree)
	return err
}

func (p *patch) marshal(maxDepth int) ([]byte, error) {
	switch {
	case len(p.path) == 0:
		return p.data, nil
	case p.data != nil && !p.whole:
		p.tree.insert(p.path, p.value)
		return marshal(&p.tree, maxDepth)
	}
	value, err := marshal(p.value, max(maxDepth-len(p.path), 0))
	if err != nil {
		return nil, err
	}
	if p.data == nil {
		return nested(p.path, value), nil
	}
	d, start, err := newDecoder(p.data)
	if err != nil {
		return nil, err
	}
	out, err := d.splice(start, p.path, value)
	if err != nil {
		return nil, err
	}
	_, _, err = newDecoder(out) // deeper than PHP reads, perhaps
	return out, err
}

// nested encodes arrays of one element in one another, and value in the innermost.
func nested(path []string, value []byte) []byte {
	var out []byte
	for _, part := range path {
		out = appendPart(appendCount(out, 1), part)
	}
	out = append(out, value...)
	for range path {
		out = append(out, '}')
	}
	return out
}

func appendPart(out []byte, part string) []byte {
	if n, ok := arrayInt(part); ok {
		return appendInt(out, n)
	}
	return appendString(out, part)
}

// splice returns the data with value in the place of the one at path.
func (d *decoder) splice(pos int, path []string, value []byte) ([]byte, error) {
	for i, part := range path {
		t, err := d.head(pos)
		if err != nil {
			return nil, err
		}
		at := d.element(&t, part)
		if at >= 0 {
			pos = at
			continue
		}
		value = nested(path[i+1:], value)
		end, err := d.skip(pos, 0)
		if err != nil {
			return nil, err
		}
		if t.kind != 'a' && t.kind != 'O' {
			return d.replace(pos, nested([]string{part}, value))
		}
		if t.kind == 'O' { // a property, as PHP makes one that the class does not declare
			return d.grow(&t, end, appendString(nil, part), value)
		}
		return d.grow(&t, end, appendPart(nil, part), value)
	}
	return d.replace(pos, value)
}

func (d *decoder) replace(pos int, value []byte) ([]byte, error) {
	end, err := d.skip(pos, 0)
	if err != nil {
		return nil, err
	}
	return concat(d.data[:pos], value, d.data[end:]), nil
}

// grow puts one more pair behind those of t, which ends at end.
func (d *decoder) grow(t *token, end int, key, value []byte) ([]byte, error) {
	head := string(d.data[t.start:t.end])
	count := ":" + strconv.Itoa(t.n) + ":{"
	i := strings.LastIndex(head, count)
	if i < 0 {
		return nil, fmt.Errorf("phpsession: at offset %d: a value to which nothing can be added", t.start)
	}
	head = head[:i] + ":" + strconv.Itoa(t.n+1) + ":{"
	return concat(d.data[:t.start], []byte(head), d.data[t.end:end-1], key, value, d.data[end-1:]), nil
}

func concat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// insert sets the value at path.
func (x *Value) insert(path []string, v any) {
	for _, part := range path {
		x = x.child(part)
	}
	switch v := v.(type) {
	case Value:
		*x = v
	case *Value:
		*x = Value{}
		if v != nil {
			*x = *v
		}
	default:
		x.V = v
	}
}

// child returns the element of x that part names, and makes it if it is missing.
func (x *Value) child(part string) *Value {
	if o, ok := x.V.(*Object); ok {
		for _, fields := range entityFields {
			if inner := o.Get(fields); inner != nil {
				if a, ok := inner.V.(Array); ok && a.Get(part) != nil {
					return a.Get(part)
				}
			}
		}
		if old := o.Get(part); old != nil {
			return old
		}
		made := &Value{}
		o.Properties = append(o.Properties, Pair{part, made})
		return made
	}
	a, _ := x.V.(Array)
	if old := a.Get(part); old != nil {
		return old
	}
	a = append(a, Pair{arrayKey(part), &Value{}})
	x.V = a
	return a[len(a)-1].Value
}

// A CakeMessage is a flash message of CakePHP's, as its FlashComponent stores it.
type CakeMessage struct {
	Message string         `php:"message"`
	Key     string         `php:"key"`     // "flash", unless CakePHP was given another
	Element string         `php:"element"` // the template that shows it: "Flash/default", "Flash/success"
	Params  map[string]any `php:"params"`
}

const (
	cakeFlash      = "flash"
	cakeFlashStore = "Flash"
)

// CakeFlash adds a message that CakePHP 3 to 5 show once, where a template calls $this->Flash->render().
// element is CakePHP's: "success", "error", "warning", a plugin's "Admin.notice", or "" for "default". Messages of
// dynasession's AddFlash are not CakePHP's.
func CakeFlash(s *dynasession.Session, message, element string) {
	plugin, name, of := strings.Cut(element, ".")
	switch {
	case element == "":
		element = "Flash/default"
	case of:
		element = plugin + ".Flash/" + name
	case !strings.Contains(element, "/"):
		element = "Flash/" + element
	}
	added := CakeMessage{Message: message, Key: cakeFlash, Element: element, Params: map[string]any{}}
	dynasession.Update(s, cakeFlashStore, func(old Value) Value {
		flash, _ := old.V.(Array)
		var list Array
		if present := flash.Get(cakeFlash); present != nil {
			list, _ = present.V.(Array) // anything else makes CakePHP fail
		}
		list = append(list, Pair{int64(len(list)), &Value{Array{
			{"message", &Value{added.Message}}, {"key", &Value{added.Key}}, {"element", &Value{added.Element}}, {"params", &Value{Array{}}},
		}}})
		flash.Set(cakeFlash, Value{list})
		return Value{flash}
	})
}

// CakeFlashes takes the messages of CakePHP that are to be shown under the key "flash", oldest first, out of the
// session. Two requests at the same moment may both get one.
func CakeFlashes(s *dynasession.Session) []CakeMessage {
	stored, ok := Lookup[Value](s, cakeFlashStore+"."+cakeFlash)
	if !ok {
		return nil
	}
	var found []CakeMessage
	list, _ := stored.V.(Array)
	for _, p := range list {
		if m, ok := cakeMessage(p.Value); ok {
			found = append(found, m)
		}
	}
	dynasession.Update(s, cakeFlashStore, func(old Value) Value {
		if flash, ok := old.V.(Array); ok {
			kept := Array{}
			for _, p := range flash {
				if p.Key != cakeFlash {
					kept = append(kept, p)
				}
			}
			return Value{kept}
		}
		return old
	})
	return found
}

func cakeMessage(v *Value) (m CakeMessage, ok bool) {
	data, err := marshal(v, maxDepth)
	if err != nil || unmarshal(data, &m) != nil {
		return CakeMessage{}, false
	}
	return m, true
}
