<?php

declare(strict_types=1);

namespace App;

/** A class that only PHP has. Go keeps the bytes of its objects. */
final class Visitor
{
    public string $language = 'en';
    protected int $pages = 0;
    private array $seen = [];

    public function sees(string $path): void
    {
        $this->pages++;
        $this->seen[$path] = true;
    }

    public function __toString(): string
    {
        return sprintf('%d requests to PHP, for %d different paths', $this->pages, count($this->seen));
    }
}
