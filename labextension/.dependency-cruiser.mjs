/** Import rules of the sources; `jlpm lint` checks them. */
export default {
  forbidden: [
    {
      name: 'no-cycle',
      comment: 'A module must not import itself through others; type imports count.',
      severity: 'error',
      from: {},
      to: { circular: true }
    }
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true
  }
};
