// Additions to the configuration by which jupyter-builder bundles the extension.

const path = require('node:path');

const ROOTS = ['lib/index.js', 'style/index.js'].map(file => path.join(__dirname, file));

/**
 * Lets the browser fetch the extension while it reads JupyterLab's own scripts.
 *
 * JupyterLab runs remoteEntry.js first, then loads itself, then asks for the extension, which would
 * delay its start by one more trip to the server.
 */
class PreloadPlugin {
  apply(compiler) {
    const { Compilation, sources } = compiler.webpack;
    compiler.hooks.thisCompilation.tap('Preload', compilation => {
      const stage = Compilation.PROCESS_ASSETS_STAGE_REPORT;
      compilation.hooks.processAssets.tap({ name: 'Preload', stage }, assets => {
        const entry = Object.keys(assets).find(name => name.startsWith('remoteEntry.'));
        const files = JSON.stringify(filesOf(compilation));
        compilation.updateAsset(
          entry,
          source => new sources.ConcatSource(source, `\n;(${preload})(${files});`)
        );
      });
    });
  }
}

/** Return the files that JupyterLab asks for at its start. */
function filesOf(compilation) {
  const holdsRoot = chunk =>
    [...compilation.chunkGraph.getChunkModulesIterable(chunk)].some(module =>
      ROOTS.includes(module.resource ?? module.rootModule?.resource)
    );
  return [...compilation.chunks].filter(holdsRoot).flatMap(chunk => [...chunk.files]);
}

/** Runs in the browser, at the end of remoteEntry.js. */
function preload(files) {
  const { src } = document.currentScript ?? {};
  for (const file of src ? files : []) {
    const link = document.createElement('link');
    Object.assign(link, { rel: 'preload', as: 'script', fetchPriority: 'low' });
    link.href = new URL(file, src).href;
    document.head.append(link);
  }
}

module.exports = { plugins: [new PreloadPlugin()] };
