package phpsession

import (
	"maps"
	"strings"

	"github.com/dynasession/dynasession"
)

// A CakeMessage is a flash message of CakePHP's, as its FlashComponent stores it.
type CakeMessage struct {
	Message string         `php:"message"`
	Key     string         `php:"key"`     // "flash", unless CakePHP was given another
	Element string         `php:"element"` // the template that shows it: "Flash/default", "flash/success"
	Params  map[string]any `php:"params"`
}

const (
	cakeFlashStore = "Flash"
	cakeFlash      = "flash"
	defaultElement = "Flash/default"
)

// CakeFlash adds a message that CakePHP shows once, where a template calls $this->Flash->render(). element is
// CakePHP 3's: "success", "error", "warning", a plugin's "Admin.notice", or "" for "default", whose templates are in
// src/Template/Element/Flash. CakePHP 4 and 5 have them in templates/element/flash: there pass "flash/success" or
// "Admin.flash/notice", which are stored as they are. CakePHP does not show messages of
// [dynasession.Session.AddFlash].
func CakeFlash(s *dynasession.Session, message, element string) {
	plugin, name, of := strings.Cut(element, ".")
	switch {
	case element == "":
		element = defaultElement
	case strings.Contains(element, "/"):
	case of:
		element = plugin + ".Flash/" + name
	default:
		element = "Flash/" + element
	}
	added, err := marshal(CakeMessage{message, cakeFlash, element, map[string]any{}}, maxDepth)
	edit(s, cakeFlashStore, func(e *editor) error {
		if err != nil {
			return err
		}
		return e.push([]string{cakeFlash}, added)
	})
}

// CakeFlashes takes the messages that CakePHP is to show under the key "flash" out of the session, and returns them,
// oldest first. What is there and is no message stays. Two requests at the same moment may both get one.
func CakeFlashes(s *dynasession.Session) []CakeMessage {
	stored, ok := Lookup[Value](s, cakeFlashStore+"."+cakeFlash)
	if !ok {
		return nil
	}
	list, ok := stored.V.(Array)
	if !ok {
		list = Array{{int64(0), &stored}} // a string, as others than the FlashComponent store it
	}
	var found []CakeMessage
	taken := map[string]int{}
	for _, p := range list {
		if m, encoded, ok := cakeMessage(p.Value); ok {
			found = append(found, m)
			taken[encoded]++
		}
	}
	if found != nil {
		edit(s, cakeFlashStore, func(e *editor) error { return e.takeFlashes(maps.Clone(taken)) })
	}
	return found
}

// cakeMessage decodes a message, and returns its encoding too.
func cakeMessage(v *Value) (m CakeMessage, encoded string, ok bool) {
	data, err := marshal(v, maxDepth)
	if err != nil {
		return m, "", false
	}
	if text, ok := v.V.(string); ok {
		return CakeMessage{Message: text, Key: cakeFlash, Element: defaultElement}, string(data), true
	}
	if a, ok := v.V.(Array); !ok || a.Get("message") == nil || unmarshal(data, &m) != nil {
		return CakeMessage{}, "", false
	}
	return m, string(data), true
}

// takeFlashes drops the messages that are taken, each as often as it says, and their list when it is empty.
func (e *editor) takeFlashes(taken map[string]int) error {
	flash, err := e.head(e.start)
	if err != nil {
		return err
	}
	at, err := e.find(cakeFlash)
	if err != nil || at < 0 {
		return err
	}
	list, err := e.head(at)
	if err != nil {
		return err
	}
	take := func(at int) (bool, error) {
		var v Value
		if _, err := e.fill(at, 0, &v); err != nil {
			return false, err
		}
		_, encoded, ok := cakeMessage(&v)
		if !ok || taken[encoded] == 0 {
			return false, nil
		}
		taken[encoded]--
		return true, nil
	}
	if list.kind != 'a' {
		if gone, err := take(at); err != nil || !gone {
			return err
		}
		e.drop(&flash, at)
		return nil
	}
	left := list.n
	_, err = e.each(&list, func(_ *token, pos int) (int, error) {
		gone, err := take(pos)
		if err != nil {
			return 0, err
		}
		if gone {
			left--
			e.drop(&list, pos)
		}
		return e.skip(pos, 0)
	})
	if left == 0 {
		e.drop(&flash, at)
	}
	return err
}
