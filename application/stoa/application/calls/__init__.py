"""The pipeline. `InvokeOperation` is the only way to call a back end; `ExplainCall` shows what it would decide."""
