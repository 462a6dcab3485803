{# This only adds grants and keeps those of others. Names are quoted, so a role may have any name. #}
{% macro postgres__apply_grants(relation, grant_config, should_revoke=false) %}
    {% for privilege, grantees in (grant_config or {}).items() %}
        {% set roles = [grantees] if grantees is string else grantees %}
        {% if roles %}
            {% set quoted = [] %}
            {% for role in roles %}{% do quoted.append('"' ~ role | replace('"', '""') ~ '"') %}{% endfor %}
            {% do run_query("grant " ~ privilege ~ " on " ~ relation ~ " to " ~ quoted | join(", ")) %}
        {% endif %}
    {% endfor %}
{% endmacro %}
