<?php

declare(strict_types=1);

require __DIR__ . '/DynamoDbSessions.php';
require __DIR__ . '/Visitor.php';

const TEAS = ['assam' => 'Assam', 'sencha' => 'Sencha', 'oolong' => 'Oolong'];

// The cookie's attributes and the lifetime must be those of the Go program.
const COOKIE = ['path' => '/', 'secure' => false, 'httponly' => true, 'samesite' => 'Lax'];
$lifetime = (int) getenv('SESSION_LIFETIME');

session_set_save_handler(new DynamoDbSessions(
    endpoint: getenv('AWS_ENDPOINT_URL_DYNAMODB'),
    table: getenv('SESSION_TABLE'),
    lifetime: $lifetime,
    locking: getenv('SESSION_LOCKING') === 'true',
), true);
session_name(getenv('SESSION_NAME'));
session_set_cookie_params(COOKIE);
session_start(['serialize_handler' => 'php', 'use_only_cookies' => true]);

// CakePHP 3 ends a session by its own clock, which it sets at every request.
if (isset($_SESSION['Config']['time']) && time() - $_SESSION['Config']['time'] > $lifetime) {
    session_regenerate_id(true);
    $_SESSION = [];
}
$_SESSION['Config']['time'] = time();

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$visitor = $_SESSION['visitor'] ??= new App\Visitor();
$visitor->sees($path);

switch ($_SERVER['REQUEST_METHOD'] . ' ' . $path) {
    case 'GET /php/':
        break;
    case 'POST /php/signin':
        $name = posted('name');
        if ($name === '') {
            finish(422);
        }
        if (($_SESSION['Auth']['User']['name'] ?? $name) !== $name) {
            $_SESSION = []; // the session is another user's
        }
        session_regenerate_id(true); // an id from before the sign-in must be useless
        $_SESSION['Auth'] = ['User' => ['id' => crc32($name), 'name' => $name]];
        finish();
    case 'POST /php/signout':
        session_destroy();
        setcookie(session_name(), '', ['expires' => 1] + COOKIE);
        finish();
    case 'POST /php/cart':
        $tea = posted('tea');
        if (!isset(TEAS[$tea])) {
            finish(400);
        }
        $count = ($_SESSION['cart'][$tea] ?? 0) + (posted('do') === 'add' ? 1 : -1);
        $_SESSION['cart'][$tea] = max(0, min(99, $count));
        finish();
    case 'POST /php/note':
        $_SESSION['note of PHP'] = posted('note', 100);
        finish();
    case 'POST /php/work':
        sleep(max(0, min(5, (int) posted('seconds'))));
        finish();
    default:
        finish(404);
}

/** Returns the text of a form field without the spaces around it, or '' if it is too long or not UTF-8. */
function posted(string $field, int $max = 40): string
{
    $text = $_POST[$field] ?? null;
    return is_string($text) && preg_match("/^.{0,$max}/us", trim($text), $m) ? $m[0] : '';
}

/** Saves the session, and only then responds. */
function finish(int $status = 303): never
{
    session_write_close();
    http_response_code($status);
    if ($status === 303) {
        header('Location: /php/');
    } else {
        header('Content-Type: text/plain');
        echo "Status $status.\n";
    }
    exit;
}

function html(mixed $s): string
{
    return htmlspecialchars((string) $s, ENT_QUOTES | ENT_SUBSTITUTE);
}

session_write_close(); // also before the first byte; $_SESSION can still be read
$user = $_SESSION['Auth']['User'] ?? null;
header('Content-Type: text/html; charset=utf-8');
header("Content-Security-Policy: default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The PHP page · One table, one login</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
</head>
<body class="php">
<a class="skip" href="#main">Skip to content</a>
<header>
  <span class="brand">One table, one login</span>
  <nav aria-label="Pages"><a href="/">Go</a> <a href="/php/" aria-current="page">PHP</a></nav>
</header>
<main id="main">
<h1>This page is written in PHP <?= html(PHP_VERSION) ?></h1>
<div class="cards">
<section class="card" aria-labelledby="who">
  <?php if ($user): ?>
  <h2 id="who">Signed in</h2>
  <p>Hello, <b class="name"><?= html($user['name']) ?></b>. <code>Auth.User.id</code> is <?= html($user['id']) ?>.</p>
  <form method="post" action="/php/signout"><button class="quiet">Sign out of both pages</button></form>
  <?php else: ?>
  <h2 id="who">Sign in</h2>
  <form method="post" action="/php/signin" class="line">
    <label for="name">Name</label>
    <input id="name" name="name" required maxlength="40" autocomplete="username" aria-describedby="hint">
    <button>Sign in</button>
  </form>
  <p class="hint" id="hint">Any name will do. PHP signs you in, and Go knows you as well.</p>
  <?php endif ?>
</section>

<section class="card" aria-labelledby="cart">
  <h2 id="cart">Cart</h2>
  <ul>
    <?php foreach (TEAS as $id => $tea): ?>
    <li>
      <span><?= $tea ?></span>
      <form method="post" action="/php/cart">
        <input type="hidden" name="tea" value="<?= $id ?>">
        <button name="do" value="remove" class="step quiet" aria-label="Remove one <?= $tea ?>">−</button>
        <span class="count" id="count-<?= $id ?>"><?= html($_SESSION['cart'][$id] ?? 0) ?></span>
        <button name="do" value="add" class="step quiet" aria-label="Add one <?= $tea ?>">+</button>
      </form>
    </li>
    <?php endforeach ?>
  </ul>
</section>

<section class="card" aria-labelledby="notes">
  <h2 id="notes">Notes</h2>
  <form method="post" action="/php/note" class="line">
    <label for="note">PHP’s note</label>
    <input id="note" name="note" maxlength="100" value="<?= html($_SESSION['note of PHP'] ?? '') ?>">
    <button>Save</button>
  </form>
  <p>Go’s note: <q id="other-note"><?= html($_SESSION['note of Go'] ?? '') ?></q></p>
</section>

<section class="card" aria-labelledby="more">
  <h2 id="more">What PHP stores in the session</h2>
  <dl>
    <dt>Config.time</dt><dd><?= gmdate('H:i:s', $_SESSION['Config']['time']) ?> UTC; CakePHP 3 ends a session by this time</dd>
    <dt><?= html($visitor::class) ?></dt><dd><span id="visitor"><?= html($visitor) ?></span>; an object, which Go does not change</dd>
  </dl>
</section>

<section class="card" aria-labelledby="work">
  <h2 id="work">Locks</h2>
  <form method="post" action="/php/work">
    <button class="quiet" name="seconds" value="3">Keep the session busy for 3 seconds</button>
  </form>
  <p class="hint">Meanwhile, open <a href="/">Go’s page</a> in another tab. With locking, it waits.</p>
</section>
</div>
</main>
<footer>This is a demonstration. Both pages share one session in one DynamoDB table.</footer>
</body>
</html>
