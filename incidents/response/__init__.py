"""The answer to an incident: policy, rota, escalation, what people do, what is owed, notices."""
