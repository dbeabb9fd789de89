<?php

declare(strict_types=1);

namespace App;

/** Something that only PHP knows: Go keeps its bytes. */
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
        return sprintf('%d requests of PHP, to %d addresses', $this->pages, count($this->seen));
    }
}
