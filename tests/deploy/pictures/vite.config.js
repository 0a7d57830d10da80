// React's own compiler knows JSX; what is built is read by a machine once, so it is not made small.
export default {
  base: './',
  esbuild: { jsx: 'automatic' },
  build: { outDir: 'dist', chunkSizeWarningLimit: 20_000, minify: false, reportCompressedSize: false },
};
