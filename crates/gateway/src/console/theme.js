// theme.js owns the choice of light or dark. It is a classic script, so that it runs before the first paint.
(() => {
  const KEY = 'tailwater.theme';
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');

  // Some private windows refuse storage; the choice then lasts as long as the page.
  const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const store = (value) => { try { localStorage.setItem(KEY, value); } catch { /* see above */ } };

  const current = () => root.dataset.theme ?? (system.matches ? 'dark' : 'light');
  const announce = () => root.dispatchEvent(new CustomEvent('themechange', { detail: current() }));

  const chosen = stored();
  if (chosen === 'light' || chosen === 'dark') root.dataset.theme = chosen;
  system.addEventListener('change', announce);

  window.tailwaterTheme = {
    current,
    toggle() {
      root.dataset.theme = current() === 'dark' ? 'light' : 'dark';
      store(root.dataset.theme);
      announce();
    },
  };
})();
