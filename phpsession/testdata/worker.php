<?php
// Does for the tests what a request of PHP does with a session: decodes, changes keys, encodes. Each
// line of input is a JSON object, each line of output its answer. The handler, and so the
// format, is the process's: php -d session.serialize_handler=php worker.php
//
// {"op": "describe", "data": base64}                 the session, as in php-codec.json
// {"op": "random", "code": seed}                     makes a session, and encodes it
// {"op": "change", "data": base64, "code": "PHP"}    runs code on $s, a reference to $_SESSION, and encodes
//
// The answer has description, data (base64), and error if the data does not decode.

enum Suit: string { case Hearts = 'H'; case Spades = 'S'; }
enum Plain { case On; case Off; }
class Legacy implements Serializable {
    public function __construct(private string $payload = '') {}
    public function serialize() { return $this->payload; }
    public function unserialize($data) { $this->payload = $data; }
}
class Ser7 {
    public function __construct(private array $data = []) {}
    public function __serialize(): array { return $this->data; }
    public function __unserialize(array $data): void { $this->data = $data; }
}
class P3 { public $pub = 1; protected $pro = 2; private $pri = 3; }

session_set_save_handler(new class implements SessionHandlerInterface {
    public function open(string $path, string $name): bool { return true; }
    public function close(): bool { return true; }
    public function read(string $id): string { return ''; }
    public function write(string $id, string $data): bool { return true; }
    public function destroy(string $id): bool { return true; }
    public function gc(int $max): int|false { return 0; }
});
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
error_reporting(E_ALL & ~E_DEPRECATED);

function text(string $s): array {
    return preg_match('//u', $s) ? ['type' => 'string', 'value' => $s] : ['type' => 'string', 'base64' => base64_encode($s)];
}

function key_of(int|string $k): array {
    return is_int($k) ? ['type' => 'int', 'value' => (string)$k] : text($k);
}

// What stands in the braces of O:
function properties(object $o): array {
    return !$o instanceof __PHP_Incomplete_Class && method_exists($o, "__serialize") ? $o->__serialize() : (array)$o;
}

final class Describer {
    public array $places = [];
    private array $seen = [];
    private array $refs = [];
    private array $oids = [];

    public function count(array $a): void {
        foreach (array_keys($a) as $k) {
            $r = ReflectionReference::fromArrayElement($a, $k);
            if ($r !== null) {
                $id = $r->getId();
                $this->places[$id] = ($this->places[$id] ?? 0) + 1;
                if ($this->places[$id] > 1) { continue; }
            }
            if (is_array($a[$k])) { $this->count($a[$k]); }
            if (is_object($a[$k]) && !$a[$k] instanceof UnitEnum && !isset($this->seen[spl_object_id($a[$k])])) {
                $this->seen[spl_object_id($a[$k])] = true;
                $this->count(properties($a[$k]));
            }
        }
    }

    public function pairs(array $a): array {
        $out = [];
        foreach (array_keys($a) as $k) { $out[] = [key_of($k), $this->slot($a, $k)]; }
        return $out;
    }

    private function slot(array $a, int|string $k): array {
        $r = ReflectionReference::fromArrayElement($a, $k);
        $n = 0;
        if ($r !== null) {
            $id = $r->getId();
            if (isset($this->refs[$id])) { return ['type' => 'reference', 'to' => $this->refs[$id]]; }
            if ($this->places[$id] > 1) { $n = $this->refs[$id] = count($this->refs) + 1; }
        }
        $out = $this->value($a[$k]);
        if ($n > 0) { $out['ref'] = $n; }
        return $out;
    }

    private function value(mixed $v): array {
        switch (true) {
            case $v === null: return ['type' => 'null'];
            case is_bool($v): return ['type' => 'bool', 'value' => $v];
            case is_int($v): return ['type' => 'int', 'value' => (string)$v];
            case is_float($v): return ['type' => 'float', 'bits' => bin2hex(pack('E', $v))];
            case is_string($v): return text($v);
            case is_array($v): return ['type' => 'array', 'items' => $this->pairs($v)];
        }
        $id = spl_object_id($v);
        if (isset($this->oids[$id])) { return ['type' => 'same_object', 'to' => $this->oids[$id]]; }
        $n = $this->oids[$id] = count($this->oids) + 1;
        if ($v instanceof UnitEnum) { return ['type' => 'enum', 'class' => $v::class, 'case' => $v->name, 'oid' => $n]; }
        if ($v instanceof Legacy) { return ['type' => 'custom', 'class' => $v::class, 'payload' => text($v->serialize()), 'oid' => $n]; }
        $props = properties($v);
        $class = $v::class;
        if ($v instanceof __PHP_Incomplete_Class) {
            $class = $props['__PHP_Incomplete_Class_Name'];
            unset($props['__PHP_Incomplete_Class_Name']);
        }
        $members = [];
        foreach (array_keys($props) as $k) { $members[] = $this->member($v, $props, $k); }
        return ['type' => 'object', 'class' => $class, 'members' => $members, 'oid' => $n];
    }

    private function member(object $o, array $props, int|string $k): array {
        $ints = !$o instanceof __PHP_Incomplete_Class && method_exists($o, "__serialize") || $o instanceof SplFixedArray; // else all names are strings
        $m = ['value' => $this->slot($props, $k), 'visibility' => 'public', 'name' => $ints ? key_of($k) : text((string)$k)];
        if (is_string($k) && preg_match('/^\0([^\0]+)\0(.*)$/s', $k, $part)) {
            $m['name'] = text($part[2]);
            $m['visibility'] = $part[1] === '*' ? 'protected' : 'private';
            if ($part[1] !== '*') { $m['declaring_class'] = $part[1]; }
        }
        return $m;
    }
}

// random_session fills $s with what one can have in a session: references and shared objects too.
function random_session(int $seed, array &$s): void {
    mt_srand($seed);
    $shared = ['object' => [], 'slot' => []];
    for ($i = mt_rand(1, 8); $i > 0; $i--) {
        $s[random_key()] = random_value(3, $shared['object']);
    }
    // References: between keys, and into them.
    $keys = array_keys($s);
    for ($i = mt_rand(0, 4); $i > 0; $i--) {
        $from = $keys[array_rand($keys)];
        $to = $keys[array_rand($keys)];
        // PHP writes a reference to an object and a handle of it in ways that depend on what else it has seen.
        // So references are to anything but objects: also to what is in an object.
        if (is_object($s[$from]) && !$s[$from] instanceof stdClass) { continue; }
        $target = &$s[$from];
        while (is_array($target) && $target !== [] && mt_rand(0, 2) > 0 || $target instanceof stdClass) {
            $names = array_keys((array)$target);
            if ($names === []) { break; }
            $k = $names[array_rand($names)];
            if (is_array($target)) { $next = &$target[$k]; } else { $next = &$target->$k; }
            if (is_object($next) && !is_object($target)) { unset($next); break; }
            $target = &$next;
            unset($next);
            if (is_object($target)) { break; }
        }
        if (is_object($target)) { unset($target); continue; }
        if (mt_rand(0, 1) > 0) { $s["ref$i"] = &$target; }
        elseif (is_array($s[$to])) { $s[$to]["ref$i"] = &$target; } // in itself, at times
        elseif ($s[$to] instanceof stdClass) { $s[$to]->{"ref$i"} = &$target; }
        unset($target);
    }
}

function random_key(): string {
    if (mt_rand(0, 3) === 0) { // like numbers, which only php_serialize takes for some
        $odd = ['', '07', '-0', '+1', '1.5', ' 1', '9223372036854775808', '!'];
        if (ini_get('session.serialize_handler') === 'php_serialize') { array_push($odd, '5', '-7', '0', '9223372036854775807', 'a|b'); }
        return $odd[array_rand($odd)];
    }
    return ['k', 'Auth', 'ключ', "a\xE9", '', 'a b', 'x.y'][mt_rand(0, 6)] . '_' . mt_rand(0, 99);
}

function random_string(): string {
    $s = '';
    for ($i = mt_rand(0, 12); $i > 0; $i--) { $s .= ['a', '"', ';', '|', 'é', "\0", "\xFF", ':', '}', 'R:1;'][mt_rand(0, 9)]; }
    return $s;
}

function random_array_key(): int|string {
    return [random_string(), '', '5', '07', '-0', '-7', '1.5', PHP_INT_MIN, mt_rand(0, 9)][mt_rand(0, 8)];
}

function random_array(int $depth, array &$objects): array {
    $a = [];
    for ($i = mt_rand(0, 4); $i > 0; $i--) {
        if (mt_rand(0, 1)) { $a[] = random_value($depth - 1, $objects); } else { $a[random_array_key()] = random_value($depth - 1, $objects); }
    }
    return $a;
}

function random_value(int $depth, array &$objects): mixed {
    if ($objects !== [] && mt_rand(0, 9) === 0) { return $objects[array_rand($objects)]; }
    switch (mt_rand(0, $depth > 0 ? 18 : 9)) {
        case 0: return null;
        case 1: return mt_rand(0, 1) === 1;
        case 2: return mt_rand(-1000, 1000);
        case 3: return [PHP_INT_MAX, PHP_INT_MIN, 0, 7][mt_rand(0, 3)];
        case 4: return [0.1, -0.0, 1e308, 5e-324, INF, 1e17, 123456.789, 1e-5][mt_rand(0, 7)];
        case 5: return random_string();
        case 6: return [Suit::Hearts, Plain::Off][mt_rand(0, 1)];
        case 7: return str_repeat('x', mt_rand(0, 40));
        case 8: return $objects[] = new Legacy(random_string());
        case 9:
            return $objects[] = [
                new DateTime('2024-02-03 04:05:06.7', new DateTimeZone('Europe/Berlin')), new DateTimeImmutable('@5'),
                new DateTimeImmutable('2020-01-01 +05:30'), new DateTimeZone('EST'), new DateInterval('P1DT5H'),
            ][mt_rand(0, 4)];
        case 10:
            $o = mt_rand(0, 1) ? new stdClass : new P3;
            $objects[] = $o;
            for ($i = mt_rand(0, 3); $i > 0; $i--) { $o->{'p' . mt_rand(0, 9)} = random_value($depth - 1, $objects); }
            return $o;
        case 11:
            $o = new stdClass;
            $objects[] = $o;
            foreach (['', '5', '-7', 'a b', "\xFF"] as $name) {
                if (mt_rand(0, 1)) { $o->$name = random_value($depth - 1, $objects); }
            }
            if (mt_rand(0, 1)) { $o->self = $o; }
            return $o;
        case 12: // without keys that look like private properties
            return $objects[] = new Ser7(array_filter(random_array($depth, $objects), fn($k) => !str_starts_with((string)$k, "\0"), ARRAY_FILTER_USE_KEY));
        case 13: return $objects[] = new ArrayObject(random_array($depth, $objects));
        case 14:
            $o = new SplObjectStorage;
            for ($i = mt_rand(0, 2); $i > 0; $i--) {
                $inner = random_value($depth - 1, $objects);
                if (is_object($inner)) { $o[$inner] = random_value($depth - 1, $objects); }
            }
            return $objects[] = $o;
        default: return random_array($depth, $objects);
    }
}

while (($line = fgets(STDIN)) !== false) {
    $in = json_decode($line, true, 64, JSON_THROW_ON_ERROR);
    session_id('0123456789abcdef0123456789abcdef');
    session_start();
    $_SESSION = [];
    $out = [];
    try {
        $ok = $in['data'] === '' || @session_decode(base64_decode($in['data']));
    } catch (Throwable $e) {
        $ok = false;
    }
    if (!$ok) {
        $out['error'] = 'does not decode';
    } else {
        if ($in['op'] === 'random') { random_session((int)$in['code'], $_SESSION); }
        if ($in['op'] === 'change') {
            $s = &$_SESSION;
            eval($in['code']);
            unset($s);
        }
        $out['data'] = base64_encode((string)@session_encode());
        $d = new Describer();
        $d->count($_SESSION);
        $out['description'] = $d->pairs($_SESSION);
    }
    if (session_status() === PHP_SESSION_ACTIVE) { session_abort(); }
    echo json_encode($out, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE), "\n";
}
