<?php
// Renders a Blade page outside of an application: php page.php PAGE URL
// Before, it publishes an event to a topic of its own, as a controller would.

require 'Illuminate/Http/autoload.php';
require 'Illuminate/View/autoload.php';
require 'GuzzleHttp/autoload.php';
require __DIR__.'/Tailwater.php';

use App\Services\Tailwater;
use Illuminate\Container\Container;
use Illuminate\Events\Dispatcher;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Support\Facades\Facade;
use Illuminate\View\Compilers\BladeCompiler;
use Illuminate\View\Engines\CompilerEngine;
use Illuminate\View\Engines\EngineResolver;
use Illuminate\View\Factory;
use Illuminate\View\FileViewFinder;

[, $page, $url] = $argv;
Facade::setFacadeApplication(new Container());

['scheme' => $scheme, 'host' => $host, 'port' => $port, 'query' => $query] = parse_url($url);
parse_str($query, $parameters);
$tailwater = new Tailwater("$scheme://$host:$port", 'none');
$tailwater->publish("{$parameters['topic']}/pages", 'a page was rendered', ['type' => 'rendered']);

$files = new Filesystem();
$engines = new EngineResolver();
$engines->register('blade', fn () => new CompilerEngine(new BladeCompiler($files, sys_get_temp_dir())));
$finder = new FileViewFinder($files, [dirname($page)]);
$views = new Factory($engines, $finder, new Dispatcher());
echo $views->make(basename($page, '.blade.php'), ['url' => $url])->render();
